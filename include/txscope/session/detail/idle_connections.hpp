#pragma once

#include <txscope/session/detail/lease.hpp>

#include <boost/system/error_code.hpp>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace txscope::detail {

/// A pool's connections that nobody has; the last one back is the first lent. Guarded by the pool's
/// mutex.
class IdleConnections {
public:
    using Member = std::shared_ptr<PooledConnection>;

    std::size_t size() const noexcept { return members_.size(); }
    void reserve(std::size_t most) { members_.reserve(most); }

    /// There is room for it: see `reserve`.
    void put(Member member) noexcept {
        member->idle = true;
        members_.push_back(std::move(member));
    }
    /// Null when there is none.
    Member take() noexcept {
        if (members_.empty()) return nullptr;
        Member member = std::move(members_.back());
        members_.pop_back();
        member->idle = false;
        return member;
    }
    std::vector<Member> take_all() noexcept {
        for (const Member& member : members_) member->idle = false;
        return std::exchange(members_, {});
    }
    void remove(const Member& member) noexcept {
        member->idle = false;
        std::erase(members_, member);
    }

    /// Arms the reads that notice when a server ends one of them: then `notice(member, error)` is
    /// called, and so it is when one was lent meanwhile and is answered.
    template <typename Notice>
    void watch(const Notice& notice) {
        for (const Member& member : members_) {
            if (std::exchange(member->watched, true)) continue;
            member->connection->descriptor().async_wait(
                BorrowedSocket::Base::wait_read,
                [notice, watched = std::weak_ptr{member}](boost::system::error_code error) {
                    if (const auto still = watched.lock()) notice(still, error);
                });
        }
    }

private:
    std::vector<Member> members_;
};

}  // namespace txscope::detail
