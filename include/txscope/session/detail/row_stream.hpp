#pragma once

#include <txscope/core/config.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/session/detail/ambient.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/mp11/algorithm.hpp>
#include <boost/mp11/list.hpp>

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
    /// @throws pqxx::usage_error in a session without a transaction, whose portals end at once
    RowStream(const SharedSession& session, Statement statement);
    RowStream(const RowStream&) = delete;
    RowStream& operator=(const RowStream&) = delete;
    ~RowStream();

    /// Gets the next rows; false where there are none.
    TXSCOPE_LAZY asio::awaitable<bool> next();
    const Result& batch() const noexcept { return batch_; }

private:
    // A batch has as many rows as took that many bytes in the batch before, and at first a few: nothing
    // is known of them. But wide ones may be behind any number of narrow ones, and the protocol bounds
    // what the server sends by rows alone. So a batch is of not more rows than this.
    static constexpr std::size_t batch_bytes = 0x40000;
    static constexpr std::size_t batch_rows = 256;
    static constexpr std::size_t first_rows = 64;
    static constexpr std::size_t growth = 8;

    const SharedSession session_;
    const Statement statement_;
    const std::uint32_t portal_;
    std::uint32_t max_rows_ = first_rows;
    bool open_ = false;  // the portal is
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

/// The arguments of a function of a row.
template <typename Rows>
using RowArguments = decltype(std::declval<const Rows&>()[0]);

/// Whether a function may be called with those arguments, and returns what it may.
template <typename OnRow, typename Arguments>
inline constexpr bool takes_row = false;
template <typename OnRow, typename... Ts>
    requires std::invocable<OnRow&, Ts...>
inline constexpr bool takes_row<OnRow, std::tuple<Ts...>> =
    std::is_void_v<std::invoke_result_t<OnRow&, Ts...>> ||
    std::is_same_v<std::invoke_result_t<OnRow&, Ts...>, asio::awaitable<void>>;

/// Whether the last of a stream's arguments is what is called with each row.
template <typename Rows, typename... Args>
inline constexpr bool end_with_on_row = false;
template <typename Rows, typename... Args>
    requires(sizeof...(Args) > 0)
inline constexpr bool end_with_on_row<Rows, Args...> =
    takes_row<std::decay_t<boost::mp11::mp_back<boost::mp11::mp_list<Args...>>>,
              RowArguments<Rows>>;

/// Does not compile where it is not.
template <typename Rows, typename... Args>
constexpr void check_on_row() {
    constexpr bool ends = end_with_on_row<Rows, Args...>;
    static_assert(ends,
                  "txscope: the last argument of a stream is called with each row, as a Row, the "
                  "columns or the struct, and returns void or asio::awaitable<void>");
}

/// Calls `take` with the last argument, which is called with each row, and then with those before it.
template <typename Take, typename... Args>
auto split_on_row(Take take, Args&&... args) {
    constexpr std::size_t before = sizeof...(Args) - 1;
    auto all = std::forward_as_tuple(std::forward<Args>(args)...);
    return [&]<std::size_t... index>(std::index_sequence<index...>) {
        return take(std::get<before>(std::move(all)), std::get<index>(all)...);
    }(std::make_index_sequence<before>{});
}

/// Calls `on_row` with each row of `statement` in `session`, and returns how many there were.
template <typename Rows, typename OnRow>
asio::awaitable<std::uint64_t> stream_rows(SharedSession session, Statement statement,
                                           OnRow on_row) {
    using Given = RowArguments<Rows>;
    using Returned = decltype(std::apply(on_row, std::declval<Given>()));
    RowStream stream{session, std::move(statement)};
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

#include <txscope/session/detail/session_state.hpp>
#include <txscope/session/detail/special_execution.hpp>

#include <pqxx/except>

#include <algorithm>
#include <new>

namespace txscope::detail {

TXSCOPE_INLINE RowStream::RowStream(const SharedSession& session, Statement statement)
    : session_{&session->here()},
      statement_{std::move(statement)},
      portal_{++session_->shared().portals} {
    if (!session_->machine().is_transaction())
        throw pqxx::usage_error{"rows are streamed in a transaction, and there is none here"};
}

TXSCOPE_INLINE RowStream::~RowStream() {
    if (!open_) return;
    try {
        session_->shared().left_portals.push_back({.number = portal_, .step = Portal::Step::close});
    } catch (const std::bad_alloc&) {  // it ends with the transaction
    }
}

TXSCOPE_LAZY_INLINE asio::awaitable<bool> RowStream::next() {
    if (open_) {
        const auto& last = batch_.block();
        if (!last.suspended()) co_return false;
        const std::size_t fit = last.size() * batch_bytes / std::max<std::size_t>(last.bytes(), 1);
        max_rows_ = static_cast<std::uint32_t>(
            std::clamp<std::size_t>(fit, 1, std::min(batch_rows, last.size() * growth)));
        batch_ = {};
    }
    SpecialExecution execution{
        .portal = {.number = portal_,
                   .max_rows = max_rows_,
                   .step = open_ ? Portal::Step::fetch : Portal::Step::open}};
    batch_ =
        co_await SessionState::execute(session_, statement_, Clock::time_point::max(), &execution);
    open_ = true;
    co_return !batch_.empty();
}

}  // namespace txscope::detail

#endif
