#include "support/catch.hpp"
#include <txscope/postgres/detail/connect_failure.hpp>

#include <string>
#include <vector>

using txscope::detail::name_of;
using txscope::detail::no_answer;
using txscope::detail::read_connect_error;
using txscope::detail::ServerAddress;
using txscope::detail::with_names;

TEST_CASE("the SQLSTATE is taken out of libpq's verbose text, and the server's source, too",
          "[connect_failure]") {
    const auto read = read_connect_error(
        "connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL:  28P01: password "
        "authentication failed for user \"me\"\nLOCATION:  auth_failed, auth.c:331\n");
    CHECK(read.sqlstate == "28P01");
    CHECK(read.text ==
          "connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL: password "
          "authentication failed for user \"me\"");
}

TEST_CASE("it is so in whatever language, and the hints of the server stay", "[connect_failure]") {
    const auto read = read_connect_error(
        "Verbindung zum Server auf Socket »/tmp/.s.PGSQL.1« fehlgeschlagen: FATAL:  3D000: "
        "Datenbank "
        "»x« existiert nicht\nTIP:  Lege sie an: createdb x\nORT:  InitPostgres, postinit.c:885\n");
    CHECK(read.sqlstate == "3D000");
    CHECK(read.text ==
          "Verbindung zum Server auf Socket »/tmp/.s.PGSQL.1« fehlgeschlagen: FATAL: Datenbank »x« "
          "existiert nicht TIP: Lege sie an: createdb x");
}

TEST_CASE("of several servers the last one that spoke counts", "[connect_failure]") {
    const auto read = read_connect_error(
        "connection to server at \"a\", port 1 failed: Connection refused\n"
        "connection to server at \"b\", port 2 failed: FATAL:  57P03: the database system is "
        "starting "
        "up\nLOCATION:  ProcessStartupPacket, postmaster.c:2371\n"
        "connection to server at \"c\", port 3 failed: Connection refused\n\tIs it running "
        "there?\n");
    CHECK(read.sqlstate == "57P03");
    CHECK(read.text ==
          "connection to server at \"a\", port 1 failed: Connection refused "
          "connection to server at \"b\", port 2 failed: FATAL: the database system is starting up "
          "connection to server at \"c\", port 3 failed: Connection refused Is it running there?");
}

TEST_CASE("what only looks like a SQLSTATE stays where it is", "[connect_failure]") {
    for (const std::string text :
         {"fe_sendauth: no password supplied", "SSL error: certificate verify failed",
          "error:  12345 is no code", "a:  b2345: c", "short:  1234: x", "LOCATION:  12"}) {
        CAPTURE(text);
        const auto read = read_connect_error(text + '\n');
        CHECK(read.sqlstate == "");
        CHECK(read.text.size() >= text.size() - 1);  // of two blanks one
    }
    CHECK(read_connect_error("").text == "");
}

TEST_CASE("a server is called by its name and its address", "[connect_failure]") {
    CHECK(name_of(ServerAddress{"db", "10.0.0.1", "5432"}) == "\"db\" (10.0.0.1), port 5432");
    CHECK(name_of(ServerAddress{"10.0.0.1", "10.0.0.1", "1"}) == "\"10.0.0.1\", port 1");
    CHECK(name_of(ServerAddress{"/tmp", "", "1"}) == "\"/tmp\", port 1");
    CHECK(no_answer(ServerAddress{"/tmp", "", "1"}).is_transient());
}

TEST_CASE("libpq's text is given the names of the servers whose addresses it has",
          "[connect_failure]") {
    const std::vector<ServerAddress> servers{
        {"db", "10.0.0.1", "1"}, {"10.0.0.2", "10.0.0.2", "1"}, {"/tmp", "", "1"}};
    CHECK(
        with_names("at \"10.0.0.1\", port 1, at \"10.0.0.2\", at \"10.0.0.1\", port 2", servers) ==
        "at \"db\" (10.0.0.1), port 1, at \"10.0.0.2\", at \"db\" (10.0.0.1), port 2");
    CHECK(with_names("", servers) == "");
}
