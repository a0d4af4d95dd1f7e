#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/session/detail/session_state.hpp>

#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

namespace txscope::detail {

/// The rows of a statement, batch by batch: the server makes those of a batch when it is asked for
/// them. In between it does what else the transaction asks for.
///
/// They come by a portal, which is closed with the statement that follows this one's end.
class RowStream {
public:
    /// To be made where `within` is the innermost session.
    /// @throws pqxx::usage_error in a session without a transaction, whose portals end at once
    RowStream(SessionState& within, Statement statement);
    RowStream(const RowStream&) = delete;
    RowStream& operator=(const RowStream&) = delete;
    ~RowStream();

    /// Gets the next rows; false where there are none.
    asio::awaitable<bool> next();
    const Result& batch() const noexcept { return batch_; }

private:
    // A batch has as many rows as took that many bytes in the batch before, but is not of more rows
    // than this, and at first not more than a few: nothing is known of them.
    static constexpr std::size_t batch_bytes = 0x40000;
    static constexpr std::size_t batch_rows = 4096;
    static constexpr std::size_t first_rows = 64;
    static constexpr std::size_t growth = 8;

    const SessionState::Shared session_;
    const Statement statement_;
    SpecialExecution execution_;
    Result batch_;
};

/// Rows as they are.
class PlainRows {
public:
    explicit PlainRows(const Result& result) : result_{result} {}
    std::tuple<Row> operator[](std::size_t index) const { return {Row{result_, index}}; }

private:
    const Result& result_;
};

/// Rows as described structs.
template <Described T>
class MappedRows {
public:
    explicit MappedRows(const Result& result) : mapping_{result.block()} {}
    std::tuple<T> operator[](std::size_t index) const { return {mapping_(index)}; }

private:
    RowMapping<T> mapping_;
};

/// What makes the arguments of a function of a row: the row itself for no types, a struct for one that
/// is described, the columns for others.
template <typename... Ts>
struct RowsOf {
    using Type = TypedRows<Ts...>;
};
template <>
struct RowsOf<> {
    using Type = PlainRows;
};
template <Described T>
struct RowsOf<T> {
    using Type = MappedRows<T>;
};

/// What a function of a row returns, which gets those arguments.
template <typename OnRow, typename Arguments>
struct CallOf;
template <typename OnRow, typename... Ts>
struct CallOf<OnRow, std::tuple<Ts...>> {
    static_assert(
        std::invocable<OnRow&, Ts...>,
        "txscope: a stream's last argument is called with each row, and does not take it");
    using Returned = std::invoke_result_t<OnRow&, Ts...>;
    static_assert(std::is_void_v<Returned> || std::is_same_v<Returned, asio::awaitable<void>>,
                  "txscope: what is called with each row returns void or asio::awaitable<void>");
};

/// Calls `take` with the last argument, which is called with each row, and then with those before it.
template <typename Take, typename... Args>
auto split_on_row(Take take, Args&&... args) {
    static_assert(sizeof...(Args) > 0,
                  "txscope: a stream's last argument is what is called with each row");
    constexpr std::size_t before = sizeof...(Args) - 1;
    auto all = std::forward_as_tuple(std::forward<Args>(args)...);
    return [&]<std::size_t... index>(std::index_sequence<index...>) {
        return take(std::get<before>(std::move(all)), std::get<index>(all)...);
    }(std::make_index_sequence<before>{});
}

/// Calls `on_row` with each row of `statement` in `session`, and returns how many there were.
template <typename Rows, typename OnRow>
asio::awaitable<std::uint64_t> stream_rows(SessionState::Shared session, Statement statement,
                                           OnRow on_row) {
    using Given = decltype(std::declval<const Rows&>()[0]);
    using Returned = typename CallOf<OnRow, Given>::Returned;
    RowStream stream{session->here(), std::move(statement)};
    std::uint64_t count = 0;
    for (;;) {
        const bool more = co_await stream.next();
        if (!more) break;
        const Rows rows{stream.batch()};
        const std::size_t size = stream.batch().size();
        for (std::size_t index = 0; index < size; ++index) {
            Given row = rows[index];
            if constexpr (std::is_void_v<Returned>)
                std::apply(on_row, std::move(row));
            else
                co_await std::apply(on_row, std::move(row));
        }
        count += size;
    }
    co_return count;
}

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <pqxx/except>

#include <algorithm>
#include <new>

namespace txscope::detail {

TXSCOPE_INLINE RowStream::RowStream(SessionState& within, Statement statement)
    : session_{&within}, statement_{std::move(statement)} {
    if (!within.machine().is_transaction())
        throw pqxx::usage_error{"rows are streamed in a transaction, and no scope is open here"};
    execution_.portal = {.number = ++within.shared().portals, .max_rows = first_rows};
}

TXSCOPE_INLINE RowStream::~RowStream() {
    if (execution_.portal.step == Portal::Step::open) return;  // it has not come to that
    execution_.portal.step = Portal::Step::close;
    try {
        session_->shared().left_portals.push_back(execution_.portal);
    } catch (const std::bad_alloc&) {  // it ends with the transaction
    }
}

TXSCOPE_INLINE asio::awaitable<bool> RowStream::next() {
    Portal& portal = execution_.portal;
    if (portal.step == Portal::Step::fetch) {
        const auto& last = batch_.block();
        if (!last.suspended()) co_return false;
        const std::size_t fit = last.size() * batch_bytes / std::max<std::size_t>(last.bytes(), 1);
        portal.max_rows = static_cast<std::uint32_t>(
            std::clamp<std::size_t>(fit, 1, std::min(batch_rows, last.size() * growth)));
        batch_ = {};
    }
    batch_ =
        co_await SessionState::execute(session_, statement_, Clock::time_point::max(), &execution_);
    portal.step = Portal::Step::fetch;
    co_return !batch_.empty();
}

}  // namespace txscope::detail

#endif
