#include "support/catch.hpp"
#include <txscope/session/detail/ambient_executor.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <chrono>
#include <memory>
#include <string>

namespace asio = boost::asio;
using txscope::detail::Ambient;
using txscope::detail::ambient_of;
using txscope::detail::AmbientExecutor;
using txscope::detail::next_turn;
using txscope::detail::on_strand;
using txscope::detail::strand_on;

namespace {

// The executor of a scope as a coroutine has it.
struct Scope {
    asio::io_context io{1};
    std::shared_ptr<const Ambient> ambient = std::make_shared<const Ambient>();
    asio::any_io_executor executor = AmbientExecutor{ambient, strand_on(io.get_executor())};

    asio::any_io_executor with_work() const {
        return asio::prefer(executor, asio::execution::outstanding_work.tracked);
    }
    bool has_work() {
        io.restart();
        io.poll();
        return !io.stopped();
    }
};

}  // namespace

TEST_CASE("a scope's executor keeps its context at work while it is held with outstanding work",
          "[ambient_executor]") {
    Scope scope;
    CHECK_FALSE(scope.has_work());
    auto first = scope.with_work();
    auto second = asio::prefer(first, asio::execution::outstanding_work.tracked);
    CHECK(scope.has_work());
    first = nullptr;
    CHECK(scope.has_work());
    second = nullptr;
    CHECK_FALSE(scope.has_work());
    first = scope.with_work();
    scope.executor = nullptr;
    CHECK(scope.has_work());
    first = nullptr;
    CHECK_FALSE(scope.has_work());
}

TEST_CASE("a scope's executor with outstanding work is the same as without", "[ambient_executor]") {
    Scope scope;
    const auto tracked = scope.with_work();
    CHECK(tracked == scope.executor);
    CHECK(ambient_of(tracked) == scope.ambient);
    const Ambient* running = nullptr;
    tracked.execute([&] { running = AmbientExecutor::running(); });
    scope.has_work();
    CHECK(running == scope.ambient.get());
}

TEST_CASE("the next turn of a coroutine comes after all that was ready or about to be",
          "[ambient_executor]") {
    Scope scope;
    std::string order;
    const auto branch = [&](char name) -> asio::awaitable<void> {
        order += name;
        co_await next_turn();
        order += static_cast<char>(name - 'a' + 'A');
    };
    asio::post(scope.io, [&] { asio::co_spawn(scope.executor, branch('a'), asio::detached); });
    asio::post(scope.io, [&] { asio::co_spawn(scope.executor, branch('b'), asio::detached); });
    scope.io.run();
    CHECK(order == "abAB");
}

TEST_CASE("whoever awaits an operation goes on on its strand, and where its session is ambient",
          "[ambient_executor]") {
    Scope scope;
    const auto strand = *txscope::detail::find_strand(scope.executor);
    bool on_its_strand = false;
    const auto wait = [&]() -> asio::awaitable<void> {
        asio::steady_timer timer{scope.io, std::chrono::nanoseconds{1}};
        co_await on_strand(timer.async_wait(asio::deferred));
        on_its_strand = strand.running_in_this_thread();
        CHECK(AmbientExecutor::running() == scope.ambient.get());
    };
    asio::co_spawn(scope.executor, wait(), asio::detached);
    scope.io.run();
    CHECK(on_its_strand);
}

TEST_CASE("an operation that is awaited on a strand can be cancelled", "[ambient_executor]") {
    Scope scope;
    asio::cancellation_signal signal;
    bool over = false;
    const auto wait = [&]() -> asio::awaitable<void> {
        co_await asio::this_coro::throw_if_cancelled(false);
        asio::steady_timer timer{scope.io, asio::steady_timer::time_point::max()};
        co_await on_strand(timer.async_wait(asio::deferred));
        over = true;
    };
    asio::co_spawn(scope.executor, wait(),
                   asio::bind_cancellation_slot(signal.slot(), asio::detached));
    scope.io.poll();
    CHECK_FALSE(over);
    signal.emit(asio::cancellation_type::terminal);
    scope.io.poll();
    CHECK(over);
}
