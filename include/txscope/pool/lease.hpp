#pragma once

#include <txscope/pool/pooled_connection.hpp>

#include <memory>
#include <utility>

namespace txscope::detail {

class Pool;

/// A connection on loan; goes back when destroyed, in whatever state it is. One that is no pool's loan
/// goes nowhere.
class Lease {
public:
    Lease() = default;
    Lease(std::shared_ptr<Pool> pool, std::shared_ptr<PooledConnection> member)
        : pool_{std::move(pool)}, member_{std::move(member)} {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&& other) noexcept {
        Lease{std::move(other)}.swap(*this);
        return *this;
    }
    ~Lease() {
        if (pool_) give_back();
    }

    explicit operator bool() const noexcept { return member_ != nullptr; }
    Connection& operator*() const noexcept { return *member_->connection; }
    Connection* operator->() const noexcept { return member_->connection.get(); }
    /// Keeps the connection's object alive, not the loan: for those who may still wait on it.
    const std::shared_ptr<PooledConnection>& member() const noexcept { return member_; }

private:
    void give_back();
    void swap(Lease& other) noexcept {
        pool_.swap(other.pool_);
        member_.swap(other.member_);
    }
    std::shared_ptr<Pool> pool_;
    std::shared_ptr<PooledConnection> member_;
};

}  // namespace txscope::detail
