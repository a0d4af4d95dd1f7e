#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/deadline.hpp>
#include <txscope/pool/connector.hpp>
#include <txscope/pool/pooled_connection.hpp>

#include <boost/asio/awaitable.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>

namespace txscope::detail {

/// Which database cluster a primary is of, by PostgreSQL's system identifier, which all its standbys
/// have and no other server. A position in the log says nothing of another cluster's.
///
/// Every opening asks for it, of the primary too: behind the same name may be another cluster by then.
/// A role that must not ask is believed. From any thread.
class ClusterIdentity {
public:
    using Shared = std::shared_ptr<ClusterIdentity>;

    TXSCOPE_LAZY static Connector::OnOpened learn_from_primary(Shared identity);
    /// What refuses a connection to a server that is no replica of the primary.
    TXSCOPE_LAZY static Connector::OnOpened check_replica(Shared identity);

    /// The same for one that was opened before the primary's was known: closes it if it is refused.
    bool accepts(const PooledConnection& replica) const {
        const auto primary = system_.load(std::memory_order_relaxed);
        if (primary == 0 || replica.system == 0 || primary == replica.system) return true;
        replica.connection->close(refusal(replica, primary));
        return false;
    }

private:
    TXSCOPE_LAZY static asio::awaitable<void> ask(PooledConnection& opened,
                                                  Clock::time_point deadline);
    static std::exception_ptr refusal(const PooledConnection& replica, std::int64_t primary);

    std::atomic<std::int64_t> system_{0};  // the primary's; 0: not known
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/postgres/server_name.hpp>

#include <string>
#include <utility>

namespace txscope::detail {

/// Source: PostgreSQL manual, "Control Data Functions".
TXSCOPE_LAZY_INLINE asio::awaitable<void> ClusterIdentity::ask(PooledConnection& opened,
                                                               Clock::time_point deadline) {
    Connection& server = *opened.connection;
    const auto response = server.make_response();
    Connection::Batch batch;
    batch.emplace_back(Statement{"SELECT system_identifier FROM pg_catalog.pg_control_system()"},
                       response, true);
    server.submit(std::move(batch));
    co_await server.answered(response, deadline);
    opened.new_round_trips();  // no loan's
    if (!response->done || server.broken())
        std::rethrow_exception(
            nest(server.failure(),
                 ConnectionFailed{"no answer to which database cluster the server is of",
                                  {.is_transient = true}}));
    if (!response->error) opened.system = response->result.one().get<std::int64_t>(0);
}

TXSCOPE_INLINE std::exception_ptr ClusterIdentity::refusal(const PooledConnection& replica,
                                                           std::int64_t primary) {
    const ServerName server = server_name(replica.connection->native());
    return std::make_exception_ptr(ConnectionFailed{
        "the server \"" + std::string{server.host} + "\", port " + std::string{server.port} +
        ", is no replica of the primary: its system identifier is " +
        std::to_string(replica.system) + ", and the primary's " + std::to_string(primary)});
}

TXSCOPE_LAZY_INLINE Connector::OnOpened ClusterIdentity::learn_from_primary(Shared identity) {
    return [identity = std::move(identity)](PooledConnection& opened,
                                            Clock::time_point deadline) -> asio::awaitable<void> {
        co_await ask(opened, deadline);
        if (opened.system != 0) identity->system_ = opened.system;
    };
}

TXSCOPE_LAZY_INLINE Connector::OnOpened ClusterIdentity::check_replica(Shared identity) {
    return [identity = std::move(identity)](PooledConnection& opened,
                                            Clock::time_point deadline) -> asio::awaitable<void> {
        co_await ask(opened, deadline);
        if (!identity->accepts(opened)) std::rethrow_exception(opened.connection->failure());
    };
}

}  // namespace txscope::detail

#endif
