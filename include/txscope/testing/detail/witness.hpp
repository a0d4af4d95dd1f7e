#pragma once

#include <txscope/postgres/detail/session_settings.hpp>
#include <txscope/testing/detail/temporary_cluster.hpp>

#include <boost/asio/generic/stream_protocol.hpp>
#include <libpq-fe.h>

#include <sys/socket.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace txscope::detail {

/// Asks what a session holds that outlives its transactions; the same in every new session.
inline const std::string session_residue = R"(SELECT pg_catalog.concat_ws(', ',
    (SELECT pg_catalog.string_agg(pg_catalog.concat(name, ' = ', setting), ', ' ORDER BY name)
        FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'),
    pg_catalog.concat('user ', CURRENT_USER),
    (SELECT pg_catalog.string_agg(pg_catalog.concat('LISTEN ', channel), ', ')
        FROM pg_catalog.pg_listening_channels() AS channel),
    (SELECT pg_catalog.string_agg(pg_catalog.concat('advisory lock ', objid), ', ')
        FROM pg_catalog.pg_locks
        WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
        AND locktype OPERATOR(pg_catalog.=) 'advisory'),
    (SELECT pg_catalog.string_agg(pg_catalog.concat('cursor ', name), ', ')
        FROM pg_catalog.pg_cursors WHERE is_holdable),
    (SELECT pg_catalog.string_agg(pg_catalog.concat('temporary ', relname), ', ')
        FROM pg_catalog.pg_class
        WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())))";

/// Looks at the server over a connection of its own, by plain blocking calls: independent of what
/// it bears witness to.
class Witness {
public:
    using Endpoint = boost::asio::generic::stream_protocol::endpoint;

    explicit Witness(const std::string& conninfo)
        : connection_{PQconnectdb(conninfo.c_str()), &PQfinish} {
        if (PQstatus(native()) != CONNECTION_OK) throw std::runtime_error{PQerrorMessage(native())};
        PQsetNoticeReceiver(native(), [](void*, const PGresult*) {}, nullptr);
        ask(fix_session_settings(backend_pid()));  // as every connection of a pool
    }

    /// Runs `sql`, which may hold several statements; the rows of the last one as one text.
    std::string ask(const std::string& sql) {
        const std::unique_ptr<PGresult, decltype(&PQclear)> answer{PQexec(native(), sql.c_str()),
                                                                   &PQclear};
        const auto status = PQresultStatus(answer.get());
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY)
            throw std::runtime_error{PQerrorMessage(native())};
        std::string text;
        for (int row = 0; row < PQntuples(answer.get()); ++row) {
            text += row == 0 ? "" : "; ";
            for (int column = 0; column < PQnfields(answer.get()); ++column) {
                const bool null = PQgetisnull(answer.get(), row, column) != 0;
                text += column == 0 ? "" : ", ";
                text += null ? "NULL" : PQgetvalue(answer.get(), row, column);
            }
        }
        return text;
    }

    int backend_pid() const noexcept { return PQbackendPID(native()); }
    std::string host() const { return PQhost(native()); }

    /// Where the server is that answered.
    Endpoint server() const {
        sockaddr_storage address{};
        socklen_t size = sizeof address;
        if (::getpeername(PQsocket(native()), reinterpret_cast<sockaddr*>(&address), &size) != 0)
            throw_errno("the server's address is not known");
        return {&address, size};
    }

private:
    PGconn* native() const noexcept { return connection_.get(); }

    std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

}  // namespace txscope::detail
