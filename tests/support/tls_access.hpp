#pragma once

#include "support/certificates.hpp"
#include "support/client.hpp"
#include <txscope/testing/temporary_postgres.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace support {

/// Access to a server over TLS: both sides show a certificate, and a password is asked for besides.
///
///     const support::TlsAccess access{server};
///     txscope::AsyncSessionFactory sessions{io, access.dsn()};
///
/// The server is restarted for it. Without TLS it is accessible as before.
class TlsAccess {
public:
    using Parameters = std::vector<std::pair<std::string, std::string>>;

    explicit TlsAccess(txscope::TemporaryPostgres& server) : server_{server} {
        query(server.dsn(), "ALTER ROLE postgres PASSWORD 'p@ss ''word''/\\%'");
        show(authority.issue("localhost"));
        write("authority.crt", authority.pem());
        write("client.crt", client_.certificate);
        write("client.key", client_.key);
        const std::string settings = contents("postgresql.conf") +
                                     "ssl = on\nssl_cert_file = 'server.crt'\n"
                                     "ssl_key_file = 'server.key'\nssl_ca_file = 'authority.crt'\n";
        write("postgresql.conf", settings);
        const std::string access =
            "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n";
        write("pg_hba.conf", access + contents("pg_hba.conf"));
        restart();
    }

    /// A connection string; `others` win over what it would hold.
    std::string dsn(std::string_view database = "postgres", const Parameters& others = {}) const {
        std::string text = "host=localhost port=" + std::to_string(server_.port()) +
                           " user=postgres password='p@ss \\'word\\'/\\\\%' sslmode=verify-full" +
                           " sslrootcert=" + path("authority.crt") +
                           " sslcert=" + path("client.crt") + " sslkey=" + path("client.key") +
                           " dbname=";
        text += database;
        for (const auto& [key, value] : others) text += ' ' + key + "='" + value + '\'';
        return text;
    }

    /// Makes the server show another certificate, from its next start on.
    void show(const Certificate& certificate) const {
        write("server.crt", certificate.certificate);
        write("server.key", certificate.key);
    }
    void restart() const {
        server_.stop();
        server_.start();
    }

    /// Writes a file into the server's folder, readable for nobody but the server and us.
    void write(const std::string& name, const std::string& text) const {
        const std::string at = path(name);
        struct stat folder{};
        if (!(std::ofstream{at} << text).flush() ||
            ::stat(server_.data_directory().c_str(), &folder) != 0 ||
            ::chmod(at.c_str(), S_IRUSR | S_IWUSR) != 0)
            throw std::runtime_error{"cannot write " + at};
        // A client refuses a key that is somebody else's.
        const bool of_server =
            name.starts_with("server") || name.ends_with(".conf") || name == "authority.crt";
        if (of_server && ::chown(at.c_str(), folder.st_uid, folder.st_gid) != 0)
            throw std::runtime_error{"cannot give away " + at};
    }
    std::string path(const std::string& name) const { return server_.data_directory() / name; }

    const Authority authority;

private:
    std::string contents(const std::string& name) const {
        return txscope::detail::read_file(path(name));
    }

    txscope::TemporaryPostgres& server_;
    const Certificate client_ = authority.issue("postgres");
};

}  // namespace support
