#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/columns.hpp>
#include <txscope/protocol/result_block.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace txscope::protocol {

/// A statement that the server has under a name, or will have, or has to drop.
struct PreparedStatement {
    enum class State {
        preparing,  ///< Parse is sent, and not answered yet.
        prepared,   ///< The server has it.
        retired,    ///< The server may have it, but it is not to be used any more.
        closing,    ///< Close is sent.
        gone,       ///< The server does not have it (any more).
    };

    std::string name;
    std::uint64_t batch = 0;  ///< Which one prepares it.
    State state = State::preparing;
    std::vector<std::uint32_t> parameter_types{};  ///< OIDs, as the server inferred them.
    std::shared_ptr<const Columns> columns{};      ///< Null when it gives no rows.
    /// The same with what a collector reads in binary, where that is any.
    std::list<std::pair<const Collector*, std::shared_ptr<const Columns>>> collected{};
    std::uint32_t requests = 0;  ///< On their way that point here, and pins.
    std::list<PreparedStatement>::iterator self{};

    [[nodiscard]] std::shared_ptr<const Columns>& columns_for(const Collector& collector);
    [[nodiscard]] bool usable() const noexcept {
        return state == State::preparing || state == State::prepared;
    }
};

/// Which statements a connection has prepared; the least recently used goes first.
///
/// They belong to the server's session: a rollback does not undo them. A name has to stand for one
/// SQL text for ever: it is all that a statement is known by here.
class PreparedStatements {
public:
    using State = PreparedStatement::State;

    explicit PreparedStatements(std::size_t capacity) : capacity_{capacity} {}

    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    /// Of those that are in use.
    [[nodiscard]] std::size_t size() const noexcept { return in_use_.size(); }

    /// The statement of that name, now the most recently used; null when there is none. A retired one
    /// takes the name until it is closing.
    PreparedStatement* find(std::string_view name) noexcept;
    /// A new one, to be prepared in `batch`. Retires another when there are too many.
    PreparedStatement& insert(std::string_view name, std::uint64_t batch);

    /// A statement that is to be closed, from now on closing; null when there is none. Close comes
    /// first in a batch: nothing can make the server skip it there, nor can it fail.
    PreparedStatement* next_to_close() noexcept;
    /// Close was not executed for all that.
    void give_back(PreparedStatement& statement) noexcept {
        if (statement.state == State::closing) move(statement, State::retired, retired_);
    }

    /// The server has executed Parse.
    void confirm(PreparedStatement& statement) noexcept {
        if (statement.state == State::preparing) statement.state = State::prepared;
    }
    /// The server does not have it.
    void forget(PreparedStatement& statement) noexcept;
    /// It is not to be used any more, and to be closed.
    void retire(PreparedStatement& statement) noexcept;
    void retire_all() noexcept {
        while (!in_use_.empty()) retire(in_use_.front());
    }
    /// The server has dropped all that it had; not those whose Parse is still to be executed.
    void forget_prepared() noexcept;

    /// Keeps a statement where it is, in whatever state, until this ends.
    class Pin {
    public:
        Pin() = default;
        Pin(PreparedStatements& statements, PreparedStatement& pinned) noexcept
            : statements_{&statements}, pinned_{&pinned} {
            pin(pinned);
        }
        Pin(Pin&& other) noexcept
            : statements_{other.statements_}, pinned_{std::exchange(other.pinned_, nullptr)} {}
        Pin& operator=(Pin&& other) noexcept {
            std::swap(statements_, other.statements_);
            std::swap(pinned_, other.pinned_);
            return *this;
        }
        ~Pin() {
            if (pinned_ != nullptr) statements_->unpin(*pinned_);
        }

        [[nodiscard]] PreparedStatement* get() const noexcept { return pinned_; }

    private:
        PreparedStatements* statements_ = nullptr;
        PreparedStatement* pinned_ = nullptr;
    };

    /// It is now the most recently used.
    void use(PreparedStatement& statement) noexcept {
        if (statement.usable()) in_use_.splice(in_use_.begin(), in_use_, statement.self);
    }

    /// A request points to it; until `unpin`, it stays where it is.
    static void pin(PreparedStatement& statement) noexcept { ++statement.requests; }
    void unpin(PreparedStatement& statement) noexcept {
        assert(statement.requests > 0);
        if (--statement.requests == 0 && statement.state == State::gone) erase(statement);
    }

private:
    using Statements = std::list<PreparedStatement>;

    // Seldom done, and apart: what asks whether to do it is done all the time.
    [[gnu::noinline]] void erase(PreparedStatement& statement) noexcept {
        others_.erase(statement.self);
    }
    void move(PreparedStatement& statement, State state, Statements& to) noexcept;

    std::size_t capacity_;
    Statements in_use_;                                                 // preparing and prepared
    Statements retired_;                                                // to be closed
    Statements others_;                                                 // closing and gone
    std::unordered_map<std::string_view, PreparedStatement*> by_name_;  // in use and retired
};

}  // namespace txscope::protocol

#if TXSCOPE_DEFINITIONS

namespace txscope::protocol {

TXSCOPE_INLINE std::shared_ptr<const Columns>& PreparedStatement::columns_for(
    const Collector& collector) {
    if (columns == nullptr) return columns;  // not known yet
    for (auto& [known, binary] : collected)
        if (known == &collector) return binary != nullptr ? binary : columns;
    auto& binary = collected.emplace_back(&collector, nullptr).second;
    binary = columns->in_binary(collector.reads_binary);
    return binary != nullptr ? binary : columns;
}

TXSCOPE_INLINE PreparedStatement* PreparedStatements::find(std::string_view name) noexcept {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return nullptr;
    use(*found->second);
    return found->second;
}

TXSCOPE_INLINE PreparedStatement& PreparedStatements::insert(std::string_view name,
                                                             std::uint64_t batch) {
    assert(!by_name_.contains(name));
    Statements added;
    PreparedStatement& statement = added.emplace_back();
    statement.name = name;
    statement.batch = batch;
    statement.self = added.begin();
    by_name_.emplace(statement.name, &statement);
    if (in_use_.size() >= capacity_ && !in_use_.empty()) retire(in_use_.back());
    in_use_.splice(in_use_.begin(), added);
    return statement;
}

TXSCOPE_INLINE PreparedStatement* PreparedStatements::next_to_close() noexcept {
    if (retired_.empty()) return nullptr;
    PreparedStatement& statement = retired_.front();
    move(statement, State::closing, others_);
    return &statement;
}

TXSCOPE_INLINE void PreparedStatements::forget(PreparedStatement& statement) noexcept {
    if (statement.state == State::gone) return;
    move(statement, State::gone, others_);
    if (statement.requests == 0) others_.erase(statement.self);
}

TXSCOPE_INLINE void PreparedStatements::retire(PreparedStatement& statement) noexcept {
    if (statement.usable()) move(statement, State::retired, retired_);
}

TXSCOPE_INLINE void PreparedStatements::forget_prepared() noexcept {
    for (auto next = in_use_.begin(); next != in_use_.end();) {
        PreparedStatement& statement = *next++;
        if (statement.state == State::prepared) forget(statement);
    }
    while (!retired_.empty()) forget(retired_.front());
}

TXSCOPE_INLINE void PreparedStatements::move(PreparedStatement& statement, State state,
                                             Statements& to) noexcept {
    Statements& from = statement.usable()                  ? in_use_
                       : statement.state == State::retired ? retired_
                                                           : others_;
    if (&from != &others_ && &to == &others_) by_name_.erase(statement.name);
    to.splice(to.end(), from, statement.self);
    statement.state = state;
}

}  // namespace txscope::protocol

#endif
