#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include "support/tls_access.hpp"
#include "support/tls_proxy.hpp"
#include <txscope/core/error.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

// What main cases are over TLS, the other integration tests show: see "over_tls" in CMakeLists.txt.
namespace tls {

namespace asio = boost::asio;
using Catch::Matchers::ContainsSubstring;
using support::failure_of;
using support::is;
using support::text_of;
using txscope::AsyncSessionFactory;
using txscope::ConnectionFailed;
using txscope::Session;

// OpenSSL decrypts a record as a whole. Of one that does not fit beside the row whose beginning is in
// its buffer, libpq leaves a part there, which the socket does not announce.
TEST_CASE("an answer arrives whole, however it is cut into TLS records", "[tls]") {
    const support::TlsProxy proxy{support::server()};
    asio::io_context io;
    const AsyncSessionFactory sessions{io, proxy.dsn(), support::observed()};
    constexpr std::size_t row = 3000;
    for (std::size_t records = 1; records <= 5; ++records) {
        const std::size_t rows = records * 16384 / row - 1;
        for (std::size_t less = 0; less <= 1000; less += 25) {
            const std::size_t last = records * 16384 - rows * row - less;
            CAPTURE(records, less);
            const auto answer = support::run(
                io,
                sessions.execute("SELECT repeat('x', CASE number WHEN 0 THEN $1::int ELSE $2 END) "
                                 "FROM generate_series($3, 0, -1) AS number",
                                 last, row, rows));
            std::size_t size = 0;
            for (const auto& [text] : answer.rows<std::string>()) size += text.size();
            REQUIRE(size == rows * row + last);
        }
    }
    CHECK(sessions.statistics().opened == 1);
}

struct Fixture {
    std::exception_ptr failure(const std::string& dsn) {
        const AsyncSessionFactory sessions{io, dsn, support::observed()};
        return support::run(io, failure_of(sessions.ready()));
    }

    txscope::TemporaryPostgres server;
    const support::TlsAccess access{server};
    asio::io_context io;
};

TEST_CASE("a transaction is committed over TLS, with certificates on both sides and SCRAM",
          "[tls]") {
    Fixture fixture;
    const AsyncSessionFactory sessions{fixture.io, fixture.access.dsn(), support::observed()};
    const txscope::TransactionScope scope{sessions};
    const auto body = [](Session& session) -> asio::awaitable<std::string> {
        co_await session.execute(
            "CREATE TABLE seen AS SELECT ssl, client_dn "
            "FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
        const auto who = co_await session.execute("SELECT client_dn FROM seen WHERE ssl");
        co_return who.one().get<std::string>(0);
    };
    CHECK(support::run(fixture.io, scope(body)) == "/CN=postgres");
    CHECK(support::query(fixture.server.dsn(), "SELECT count(*) FROM seen").number() == 1);
}

TEST_CASE("a connection over TLS that one side does not trust is one clear error", "[tls]") {
    Fixture fixture;
    const support::TlsAccess& access = fixture.access;
    const auto check = [&](const support::TlsAccess::Parameters& parameters,
                           const std::string& reason) {
        const auto failure = fixture.failure(access.dsn("postgres", parameters));
        REQUIRE(is<ConnectionFailed>(failure));
        CHECK_THAT(text_of(failure), ContainsSubstring(reason));
    };
    CHECK(fixture.failure(access.dsn()) == nullptr);

    // What is wrong with a server's certificate is told as well, unless the whole handshake comes at
    // once: then OpenSSL has other things to say.
    access.write("stranger.crt", support::Authority{"stranger"}.pem());
    check({{"sslrootcert", access.path("stranger.crt")}}, "certificate verify failed");
    access.write("double.crt", support::Authority{}.pem());
    check({{"sslrootcert", access.path("double.crt")}}, "SSL error");
    check({{"sslrootcert", access.path("none.crt")}}, "none.crt");
    check({{"host", "127.0.0.1"}}, "does not match host name \"127.0.0.1\"");
    check({{"sslcert", access.path("none.crt")}}, "client certificate");
    check({{"sslmode", "disable"}, {"host", "127.0.0.1"}, {"port", "1"}}, "refused");
    check({{"password", "another"}}, "password authentication failed for user \"postgres\"");

    const support::Certificate expired = access.authority.issue_expired("postgres");
    access.write("expired.crt", expired.certificate);
    access.write("expired.key", expired.key);
    check({{"sslcert", access.path("expired.crt")}, {"sslkey", access.path("expired.key")}},
          "expired");
    const support::Certificate other = access.authority.issue("somebody");
    access.write("other.crt", other.certificate);
    access.write("other.key", other.key);
    check({{"sslcert", access.path("other.crt")}, {"sslkey", access.path("other.key")}},
          "authentication failed for user \"postgres\"");

    access.show(access.authority.issue_expired("localhost"));
    access.restart();
    check({}, "certificate verify failed");
}

// As a URI has it: RFC 3986 lets these stand as they are.
std::string percent_encoded(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string encoded;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        encoded += '%';
        encoded += digits[byte >> 4];
        encoded += digits[byte & 15];
    }
    return encoded;
}

TEST_CASE("a password may be of any signs, however the connection string is written", "[tls]") {
    const std::vector<std::string> passwords{"it's \"quoted\"",
                                             "back\\slash\\",
                                             "p@ss:w/o?r#d&=%41",
                                             " blanks at its ends ",
                                             "$(true)",
                                             "\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91",
                                             "non-breaking\xc2\xa0space",
                                             std::string(200, '%')};
    txscope::TemporaryPostgresOptions options;
    options.password = passwords[0];
    const txscope::TemporaryPostgres server{options};
    support::Client administrator{server.dsn()};
    asio::io_context io;
    for (const std::string& password : passwords) {
        CAPTURE(password);
        administrator.query("ALTER ROLE postgres PASSWORD " +
                            txscope::detail::quote_setting(password));
        const std::string uri = "postgresql://postgres:" + percent_encoded(password) +
                                "@127.0.0.1:" + std::to_string(server.port()) + "/postgres";
        const std::string quoted = txscope::detail::quote_conninfo(password);
        for (const std::string& dsn : {server.tcp_dsn() + " password=" + quoted, uri}) {
            const AsyncSessionFactory sessions{io, dsn, support::observed()};
            CHECK(support::run(io, sessions.execute("SELECT 1")).size() == 1);
        }
    }
}

}  // namespace tls
