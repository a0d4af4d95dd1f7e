#pragma once

#include <txscope/core/error.hpp>
#include <txscope/session/detail/borrower.hpp>
#include <txscope/session/detail/lease.hpp>
#include <txscope/session/detail/ticket.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <list>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace txscope::detail {

/// Those who wait for a connection of a pool, in the order they came; and whether one will ever
/// come back.
///
/// It counts the borrowers that are blocked: those that hold a connection, and within which
/// somebody waits here for another. When these hold all there are, nobody would be served again.
/// Guarded by the pool's mutex.
class WaitQueue {
public:
    bool empty() const noexcept { return tickets_.empty(); }
    std::size_t size() const noexcept { return tickets_.size(); }

    void push(Ticket& ticket) {
        ticket.place = tickets_.insert(tickets_.end(), &ticket);
        for (Borrower* outer : ticket.demand().around) change(*outer, [&] { ++outer->waits; });
    }
    void remove(Ticket& ticket) noexcept {
        tickets_.erase(*std::exchange(ticket.place, std::nullopt));
        for (Borrower* outer : ticket.demand().around) change(*outer, [&] { --outer->waits; });
    }
    Ticket& pop() noexcept {
        Ticket& first = *tickets_.front();
        remove(first);
        return first;
    }

    /// From now on `borrower` holds `member`.
    void lend(PooledConnection& member, Borrower* borrower) noexcept {
        member.borrower = borrower;
        if (borrower != nullptr) change(*borrower, [&] { borrower->holds = true; });
    }
    /// Nobody holds it any more.
    void take_back(PooledConnection& member) noexcept {
        Borrower* borrower = std::exchange(member.borrower, nullptr);
        if (borrower != nullptr) change(*borrower, [&] { borrower->holds = false; });
    }

    /// Refuses the newest of those whose waiting keeps one of the `connections` from coming back,
    /// for as long as all of them are kept so.
    void break_deadlock(std::size_t connections);

private:
    template <typename Change>
    void change(Borrower& borrower, Change change) noexcept {
        if (borrower.blocked()) --blocked_;
        change();
        if (borrower.blocked()) ++blocked_;
    }
    static std::exception_ptr deadlock_of(const Ticket& ticket,
                                          const std::vector<std::source_location>& holders);

    std::list<Ticket*> tickets_;
    std::size_t blocked_ = 0;
};

inline void WaitQueue::break_deadlock(std::size_t connections) {
    while (blocked_ > 0 && blocked_ == connections) {
        Ticket* newest = nullptr;
        std::vector<std::source_location> holders;  // each place once: scopes of one function
        for (Ticket* ticket : tickets_) {
            for (const Borrower* outer : ticket->demand().around) {
                if (!outer->holds) continue;
                newest = ticket;
                const auto known = [&](const std::source_location& where) {
                    return location_text(where) == location_text(outer->where);
                };
                if (std::ranges::none_of(holders, known)) holders.push_back(outer->where);
            }
        }
        auto error = deadlock_of(*newest, holders);
        remove(*newest);
        newest->refuse(std::move(error));
    }
}

inline std::exception_ptr WaitQueue::deadlock_of(const Ticket& ticket,
                                                 const std::vector<std::source_location>& holders) {
    return std::make_exception_ptr(
        PoolDeadlock{"every connection is held by scopes that wait for another one themselves",
                     holders, ticket.demand().scope()});
}

}  // namespace txscope::detail
