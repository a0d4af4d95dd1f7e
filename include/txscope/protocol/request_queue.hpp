#pragma once

#include <txscope/protocol/columns.hpp>
#include <txscope/protocol/copy.hpp>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace txscope::protocol {

class Response;
struct PreparedStatement;

/// What was sent together, and how far it is answered.
struct Request {
    /// What comes next for it.
    enum class Awaits : std::uint8_t {
        parse_complete,  ///< Then, for a statement that is prepared under a name,
        parameter_description,
        statement_columns,  ///< RowDescription or NoData. That is all.
        bind_complete,      ///< Of an execution, and, if it is `described`,
        portal_columns,     ///< likewise. Then
        completion,         ///< rows and how Execute ended, or the beginning of COPY.
        query,              ///< All of that, of a Query's statements; then ReadyForQuery.
        copy_in,            ///< Nothing, until we end it.
        copy_out,           ///< Data.
        copy_both,
        copy_completion,
        close_complete,
        ready,  ///< ReadyForQuery, in answer to Sync.
    };

    Awaits awaits{};
    Copy copy = Copy::none;
    bool simple = false;           ///< Query, which ends its batch itself.
    bool prepares = false;         ///< A statement under a name, and nothing else.
    bool described = false;        ///< By its portal.
    bool keep = false;             ///< Its result is wanted.
    bool changes_session = false;  ///< Running it may leave what outlives its transaction.
    bool in_between = false;       ///< Sync, behind which its batch goes on.
    std::uint32_t ordinal = 0;     ///< Among its response's statements.
    Response* response = nullptr;  ///< Null for who does not wait, or not any more: Sync, for one.
    PreparedStatement* statement = nullptr;
    std::shared_ptr<const Columns>* columns = nullptr;  ///< Its statement's; null without a name.
    /// Of Sync or Query: of its bytes, counted from the connection's beginning.
    std::uint64_t end = 0;

    /// What comes when there is no more data to copy.
    [[nodiscard]] Awaits after_copy() const noexcept {
        return simple ? Awaits::query : Awaits::copy_completion;
    }
    /// Whether ReadyForQuery answers it.
    [[nodiscard]] bool syncs() const noexcept { return simple || awaits == Awaits::ready; }
    [[nodiscard]] bool ends_batch() const noexcept { return syncs() && !in_between; }
};

/// The message that is to be answered next, for error texts.
[[nodiscard]] constexpr std::string_view name_of(const Request& request) noexcept {
    if (request.simple) return "Query";
    switch (request.awaits) {
        case Request::Awaits::parse_complete:
            return "Parse";
        case Request::Awaits::parameter_description:
        case Request::Awaits::statement_columns:
        case Request::Awaits::portal_columns:
            return "Describe";
        case Request::Awaits::bind_complete:
            return "Bind";
        case Request::Awaits::close_complete:
            return "Close";
        case Request::Awaits::ready:
            return "Sync";
        default:
            return "Execute";
    }
}

/// What was sent and is not answered yet, in order. A batch's requests stay until its last one is
/// answered: an error at the Sync concerns them all.
class RequestQueue {
public:
    /// Makes room: `add` does not throw for that many.
    void reserve(std::size_t count) {
        if (requests_.capacity() - requests_.size() < count) grow(count);
    }
    void add(const Request& request) {
        assert(requests_.size() < requests_.capacity());
        requests_.push_back(request);
    }
    /// Those of batches whose end is not answered yet.
    [[nodiscard]] std::span<Request> outstanding() noexcept { return from(batch_begin_); }

    /// A place in the queue, to come back to before anything is answered.
    [[nodiscard]] std::size_t size() const noexcept { return requests_.size(); }
    void truncate(std::size_t size) noexcept {
        requests_.erase(requests_.begin() + static_cast<std::ptrdiff_t>(size), requests_.end());
    }
    [[nodiscard]] std::span<Request> from(std::size_t index) noexcept {
        return std::span{requests_}.subspan(index);
    }

    /// All that are answered.
    [[nodiscard]] bool idle() const noexcept { return answered_ == requests_.size(); }
    /// The next to be answered; there has to be one.
    [[nodiscard]] Request& head() noexcept { return requests_[answered_]; }
    void pop() noexcept { ++answered_; }
    /// The Sync or Query that is answered next; null where there is none.
    [[nodiscard]] const Request* next_sync() const noexcept {
        for (std::size_t next = answered_; next < requests_.size(); ++next)
            if (requests_[next].syncs()) return &requests_[next];
        return nullptr;
    }

    /// Those before the head that no COMMIT in their batch, and no Sync, has made safe.
    [[nodiscard]] std::span<Request> uncommitted() noexcept {
        return std::span{requests_}.subspan(uncommitted_, answered_ - uncommitted_);
    }
    /// The head is a COMMIT, or a Sync without a transaction block, and was executed.
    void note_commit() noexcept { uncommitted_ = answered_ + 1; }

    /// All of the batch that the head is in, up to its end; to the last one if it has no end yet.
    [[nodiscard]] std::span<Request> batch() noexcept;
    /// Whether the batch that the head is in has an end.
    [[nodiscard]] bool batch_is_ended() noexcept {
        const auto requests = batch();
        return !requests.empty() && requests.back().ends_batch();
    }
    /// Whether no other batch comes behind it.
    [[nodiscard]] bool in_last_batch() noexcept {
        return batch_begin_ + batch().size() == requests_.size();
    }
    /// The head, the end of its batch, is answered, and so is all of that.
    void pop_batch() noexcept;

private:
    void grow(std::size_t count) {
        requests_.reserve(
            std::max({requests_.size() + count, 2 * requests_.capacity(), std::size_t{64}}));
    }

    std::vector<Request> requests_;
    std::size_t batch_begin_ = 0;  // of the batch that is being answered
    std::size_t answered_ = 0;     // how many are, of all requests
    std::size_t uncommitted_ = 0;
};

inline std::span<Request> RequestQueue::batch() noexcept {
    std::size_t end = answered_;
    while (end < requests_.size() && !requests_[end++].ends_batch()) continue;
    return {requests_.data() + batch_begin_, end - batch_begin_};
}

inline void RequestQueue::pop_batch() noexcept {
    assert(head().ends_batch());
    batch_begin_ = uncommitted_ = ++answered_;
    // Moved only when at least as many are gone.
    if (batch_begin_ < requests_.size() / 2) return;
    requests_.erase(requests_.begin(),
                    requests_.begin() + static_cast<std::ptrdiff_t>(batch_begin_));
    batch_begin_ = answered_ = uncommitted_ = 0;
}

}  // namespace txscope::protocol
