#pragma once

#include <txscope/testing/temporary_postgres_error.hpp>

#include <grp.h>
#include <pwd.h>
#include <sys/types.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

namespace txscope::detail {

/// Who runs the server, where that is somebody other than we are.
struct ServerUser {
    bool differs = false;
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups{};
};

/// Who runs the server: we ourselves, or, since PostgreSQL refuses root, an unprivileged user.
inline ServerUser find_server_user() {
    if (::geteuid() != 0) return {};
    std::string buffer(1 << 16, '\0');
    for (const char* name : {"postgres", "nobody"}) {
        passwd entry{};
        passwd* found = nullptr;
        if (::getpwnam_r(name, &entry, buffer.data(), buffer.size(), &found) != 0 || !found)
            continue;
        // The groups are looked up here, since between fork and exec nothing may allocate.
        int count = 64;
        std::vector<gid_t> groups(static_cast<std::size_t>(count));
        if (::getgrouplist(name, found->pw_gid, groups.data(), &count) < 0) count = 1;
        groups.resize(static_cast<std::size_t>(count));
        return {true, found->pw_uid, found->pw_gid, std::move(groups)};
    }
    throw TemporaryPostgresError{
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor a user "
        "`nobody` to run it as: run the tests as an ordinary user"};
}

}  // namespace txscope::detail
