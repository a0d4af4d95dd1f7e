#pragma once

#include <txscope/testing/temporary_postgres_error.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace txscope::detail {

inline bool has_postgres_binaries(const std::filesystem::path& folder) {
    return ::access((folder / "initdb").c_str(), X_OK) == 0 &&
           ::access((folder / "postgres").c_str(), X_OK) == 0;
}

/// The first folder named in a `PATH`-like variable that has them; empty for none.
inline std::filesystem::path find_in_path(std::string_view path) {
    while (!path.empty()) {
        const std::string_view folder = path.substr(0, path.find(':'));
        if (!folder.empty() && has_postgres_binaries(folder)) return folder;
        path.remove_prefix(std::min(path.size(), folder.size() + 1));
    }
    return {};
}

/// Numbers compare as numbers, so that 9.6 comes before 15.
inline bool version_less(const std::string& left, const std::string& right) {
    const auto major = [](const std::string& version) {
        return std::strtoul(version.c_str(), nullptr, 10);
    };
    return major(left) != major(right) ? major(left) < major(right) : left < right;
}

/// That of the highest version, where distributions put versions side by side; empty for none.
inline std::filesystem::path find_highest_version() {
    std::filesystem::path found;
    std::string highest;
    const auto look = [&](const std::string& parent, const std::string& prefix) {
        std::error_code none;
        for (const auto& entry : std::filesystem::directory_iterator{parent, none}) {
            const std::string name = entry.path().filename().string();
            if (!name.starts_with(prefix)) continue;
            const std::string version = name.substr(prefix.size());
            const std::filesystem::path folder = entry.path() / "bin";
            if (!version_less(highest, version) || !has_postgres_binaries(folder)) continue;
            highest = version;
            found = folder;
        }
    };
    look("/usr/lib/postgresql", "");  // Debian, Ubuntu
    look("/usr", "pgsql-");           // PostgreSQL's own packages for Red Hat
    return found;
}

/// The folder that holds `initdb` and `postgres`; see `TemporaryPostgresOptions::binaries`.
inline std::filesystem::path find_postgres_binaries(const std::filesystem::path& wanted) {
    const auto demand = [](const std::filesystem::path& folder, const std::string& source) {
        if (has_postgres_binaries(folder)) return folder;
        throw TemporaryPostgresError{"no initdb and postgres in " + folder.string() +
                                     ", which is named by " + source};
    };
    if (!wanted.empty()) return demand(wanted, "TemporaryPostgresOptions::binaries");
    if (const char* folder = std::getenv("TXSCOPE_POSTGRES_BINDIR"); folder && *folder)
        return demand(folder, "TXSCOPE_POSTGRES_BINDIR");

    const char* path = std::getenv("PATH");
    if (auto found = find_in_path(path ? path : ""); !found.empty()) return found;
    if (auto found = find_highest_version(); !found.empty()) return found;
    throw TemporaryPostgresError{
        "no PostgreSQL server found (initdb and postgres) on PATH, in "
        "/usr/lib/postgresql/<version>/bin or in /usr/pgsql-<version>/bin: install one "
        "(on Debian and Ubuntu the package `postgresql`), or name its folder in "
        "TXSCOPE_POSTGRES_BINDIR"};
}

}  // namespace txscope::detail
