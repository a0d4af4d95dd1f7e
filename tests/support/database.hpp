#pragma once

#include "support/client.hpp"
#include "support/run.hpp"
#include "support/tls_access.hpp"
#include <txscope/testing/temporary_postgres.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>

namespace support {

/// The one server of a test program: started when the first test asks for it, gone at exit.
///
/// A test that stops it starts it again; one that leaves it in any other state makes its own.
inline txscope::TemporaryPostgres& server() {
    static txscope::TemporaryPostgres shared{[] {
        txscope::TemporaryPostgresOptions options;
        options.max_connections = 200;
        options.settings = {"max_prepared_transactions = 10"};
        return options;
    }()};
    return shared;
}

/// A connection string for that server: over TLS, with certificates and a password, if
/// `TXSCOPE_TESTS_OVER_TLS` is set in the environment.
inline std::string server_dsn(std::string_view database) {
    static const bool over_tls = std::getenv("TXSCOPE_TESTS_OVER_TLS") != nullptr;
    if (!over_tls) return server().dsn(database);
    static const TlsAccess access{server()};
    return access.dsn(database);
}

/// A database of a test's own on the shared server, dropped with all connections to it.
///
///     const support::Database database{"CREATE TABLE projects (id int PRIMARY KEY)"};
///     txscope::AsyncSessionFactory sessions{io, database.dsn()};
///
/// A whole database and not a schema, although it costs about 35 ms instead of one: advisory
/// locks, serializable conflicts, `pg_stat_activity` and its counters are kept by database, so
/// nothing that another test left behind can disturb, and the connection string is a plain one,
/// without a `search_path` that would hide what a session reset does.
class Database {
public:
    /// `schema` is run in the new database.
    explicit Database(const std::string& schema = {},
                      const txscope::TemporaryPostgres& on = server())
        : server_{on}, name_{next_name()} {
        support::query(server_.dsn(), "CREATE DATABASE " + name_);
        if (!schema.empty()) support::query(dsn(), schema);
    }
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    ~Database() {
        try {
            support::query(server_.dsn(), "DROP DATABASE " + name_ + " WITH (FORCE)");
        } catch (const std::exception&) {
            // The server is down, or its clients are used up; it takes the database with it.
        }
    }

    const std::string& name() const { return name_; }
    std::string dsn() const {
        return &server_ == &server() ? server_dsn(name_) : server_.dsn(name_);
    }
    std::string tcp_dsn() const { return server_.tcp_dsn(name_); }

    /// What an independent connection sees.
    Rows query(const std::string& sql) const { return support::query(dsn(), sql); }
    std::int64_t count(std::string_view table) const {
        return query("SELECT count(*) FROM " + std::string{table}).number();
    }

private:
    static std::string next_name() {
        static std::atomic<int> number = 0;
        return "test_" + std::to_string(++number);
    }

    const txscope::TemporaryPostgres& server_;
    std::string name_;
};

}  // namespace support
