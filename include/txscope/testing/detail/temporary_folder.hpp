#pragma once

#include <txscope/testing/detail/server_user.hpp>
#include <txscope/testing/temporary_postgres_error.hpp>

#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace txscope::detail {

/// Whether any user may pass through `folder` and all folders above it.
inline bool open_to_everybody(const std::filesystem::path& folder) {
    constexpr auto pass = std::filesystem::perms::others_exec;
    for (std::filesystem::path at = folder;; at = at.parent_path()) {
        std::error_code error;
        const auto status = std::filesystem::status(at, error);
        if (error || (status.permissions() & pass) == std::filesystem::perms::none) return false;
        if (at == at.parent_path()) return true;
    }
}

/// A folder of the server's user, short enough for a unix socket in it. Removes itself.
class TemporaryFolder {
public:
    explicit TemporaryFolder(const ServerUser& user) {
        std::error_code error;
        std::filesystem::path parent = std::filesystem::temp_directory_path(error);
        constexpr std::string_view names = "/txscope-XXXXXX/.s.PGSQL.65535";
        if (error || parent.native().size() + names.size() >= sizeof(sockaddr_un::sun_path) ||
            (user.differs && !open_to_everybody(parent)))
            parent = "/tmp";
        std::string name = (parent / "txscope-XXXXXX").string();
        if (!::mkdtemp(name.data())) throw_errno("no temporary folder in " + parent.string());
        path_ = name;
        if (user.differs && ::chown(name.c_str(), user.uid, user.gid) != 0) {
            ::rmdir(name.c_str());
            throw_errno("cannot give " + name + " to the server's user");
        }
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code none;
        if (::getpid() == owner_) std::filesystem::remove_all(path_, none);
    }

    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
    pid_t owner_ = ::getpid();  // a forked child that ends is not to remove its parent's folder
};

}  // namespace txscope::detail
