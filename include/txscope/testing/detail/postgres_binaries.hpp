#pragma once

#include <txscope/testing/temporary_postgres_error.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace txscope::detail {

inline bool has_postgres_binaries(const std::filesystem::path& folder) {
    return ::access((folder / "initdb").c_str(), X_OK) == 0 &&
           ::access((folder / "postgres").c_str(), X_OK) == 0;
}

/// The folders named in a `PATH`-like variable.
inline std::vector<std::filesystem::path> split_path(std::string_view path) {
    std::vector<std::filesystem::path> folders;
    while (!path.empty()) {
        const std::string_view folder = path.substr(0, path.find(':'));
        if (!folder.empty()) folders.emplace_back(folder);
        path.remove_prefix(std::min(path.size(), folder.size() + 1));
    }
    return folders;
}

/// Numbers compare as numbers, so that 9.6 comes before 15, and pgsql-9.6 before pgsql-15.
inline bool version_less(const std::string& left, const std::string& right) {
    const auto numbers = [](const std::string& text) {
        std::vector<unsigned long> found;
        for (std::size_t at = 0; (at = text.find_first_of("0123456789", at)) < text.size();) {
            const std::size_t end = std::min(text.find_first_not_of("0123456789", at), text.size());
            found.push_back(std::strtoul(text.substr(at, end - at).c_str(), nullptr, 10));
            at = end;
        }
        return found;
    };
    return numbers(left) < numbers(right);
}

/// Where distributions put versions side by side, the highest version first.
inline std::vector<std::filesystem::path> versioned_postgres_folders() {
    std::vector<std::filesystem::path> versions;
    const auto collect = [&](const char* parent, std::string_view prefix) {
        std::error_code none;
        for (const auto& entry : std::filesystem::directory_iterator{parent, none})
            if (entry.path().filename().string().starts_with(prefix))
                versions.push_back(entry.path());
    };
    collect("/usr/lib/postgresql", "");  // Debian, Ubuntu
    collect("/usr", "pgsql-");           // PostgreSQL's own packages for Red Hat
    std::sort(versions.begin(), versions.end(), [](const auto& left, const auto& right) {
        return version_less(right.filename().string(), left.filename().string());
    });
    for (auto& version : versions) version /= "bin";
    return versions;
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
    for (const auto& folders : {split_path(path ? path : ""), versioned_postgres_folders()})
        for (const auto& folder : folders)
            if (has_postgres_binaries(folder)) return folder;
    throw TemporaryPostgresError{
        "no PostgreSQL server found (initdb and postgres) on PATH, in "
        "/usr/lib/postgresql/<version>/bin or in /usr/pgsql-<version>/bin: install one "
        "(on Debian and Ubuntu the package `postgresql`), or name its folder in "
        "TXSCOPE_POSTGRES_BINDIR"};
}

}  // namespace txscope::detail
