#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include <txscope/net/forwarded_cancellation.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>

namespace asio = boost::asio;
using txscope::detail::AmbientContext;
using txscope::detail::AmbientExecutor;
using txscope::detail::ForwardedCancellation;
using txscope::detail::Strand;
using txscope::detail::strand_on;

namespace {

struct Said final : AmbientContext {
    explicit Said(const Strand& its) : AmbientContext{its.state()}, on{its} {}
    const Strand on;
};

asio::awaitable<void> await_on(Strand strand, asio::awaitable<void> work) {
    const asio::any_io_executor callers = co_await asio::this_coro::executor;
    ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state, callers,
                                       AmbientExecutor{new Said{strand}}};
    co_await cancellation.spawn(std::move(work));
}

asio::awaitable<void> look(const AmbientContext*& seen, bool waits) {
    if (waits) co_await asio::post(asio::deferred);
    seen = AmbientExecutor::running();
}

asio::awaitable<void> fail(bool waits) {
    if (waits) co_await asio::post(asio::deferred);
    throw std::runtime_error{"expected"};
}

asio::awaitable<void> wait_for_ever() {
    asio::steady_timer timer{co_await asio::this_coro::executor,
                             asio::steady_timer::time_point::max()};
    co_await timer.async_wait(asio::deferred);
}

}  // namespace

TEST_CASE("work runs with its own ambient, and whoever awaits it goes on without",
          "[forwarded_cancellation]") {
    const bool waits = GENERATE(false, true);
    asio::io_context io{1};
    const AmbientContext* within = nullptr;
    const AmbientContext* behind = nullptr;
    support::run(io, [&]() -> asio::awaitable<void> {
        co_await await_on(strand_on(io.get_executor()), look(within, waits));
        behind = AmbientExecutor::running();
    });
    CHECK(within != nullptr);
    CHECK(behind == nullptr);
}

TEST_CASE("what work throws comes out, whether it has waited or not", "[forwarded_cancellation]") {
    const bool waits = GENERATE(false, true);
    asio::io_context io{1};
    CHECK_THROWS_AS(support::run(io,
                                 [&]() -> asio::awaitable<void> {
                                     co_await await_on(strand_on(io.get_executor()), fail(waits));
                                 }),
                    std::runtime_error);
}

TEST_CASE("any number of works that never wait are awaited one after another",
          "[forwarded_cancellation]") {
    asio::io_context io{1};
    int done = 0;
    support::run(io, [&]() -> asio::awaitable<void> {
        const AmbientContext* seen = nullptr;
        for (; done < 20000; ++done)
            co_await await_on(strand_on(io.get_executor()), look(seen, false));
    });
    CHECK(done == 20000);
}

/// An operation that begins, and throws what has nothing to do with it.
asio::awaitable<void> begin_and_throw(std::function<void()>& end) {
    co_await asio::async_initiate<const asio::deferred_t&, void()>(
        [&](auto handler) {
            end = [kept = std::make_shared<decltype(handler)>(std::move(handler))] {
                std::move (*kept)();
            };
            throw std::runtime_error{"expected"};
        },
        asio::deferred);
}

TEST_CASE("work that began by throwing something out of its context ends like any other",
          "[forwarded_cancellation]") {
    asio::io_context io{1};
    std::function<void()> end;
    bool done = false;
    const auto await = [&]() -> asio::awaitable<void> {
        co_await await_on(strand_on(io.get_executor()), begin_and_throw(end));
        done = true;
    };
    asio::co_spawn(io, await, asio::detached);
    CHECK_THROWS_AS(io.run(), std::runtime_error);
    asio::post(io, std::exchange(end, nullptr));
    CHECK(io.run_one() == 1);
    CHECK(done);  // right there: it had waited
}

TEST_CASE("whoever awaits work elsewhere goes on at home", "[forwarded_cancellation]") {
    const bool waits = GENERATE(false, true);
    asio::io_context io;
    asio::thread_pool elsewhere{1};
    const Strand strand = strand_on(elsewhere.get_executor());
    std::thread::id home;
    support::run(io, [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 100; ++i) {
            const AmbientContext* seen = nullptr;
            co_await await_on(strand, look(seen, waits));
            CHECK(seen != nullptr);
        }
        home = std::this_thread::get_id();
    });
    CHECK(home == std::this_thread::get_id());
}

TEST_CASE("a cancellation reaches the work", "[forwarded_cancellation]") {
    asio::io_context io{1};
    asio::cancellation_signal signal;
    std::exception_ptr error;
    asio::co_spawn(
        io, await_on(strand_on(io.get_executor()), wait_for_ever()),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr met) { error = met; }));
    io.poll();
    CHECK(error == nullptr);
    signal.emit(asio::cancellation_type::terminal);
    io.restart();
    io.poll();
    CHECK(error != nullptr);
    CHECK(io.stopped());
}

/// What `co_spawn` begins is ended by `terminal` only, unless it says otherwise.
asio::awaitable<void> await_as_any_type_cancels(asio::awaitable<void> awaited) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await std::move(awaited);
}

TEST_CASE("a cancellation of any type reaches the work as one of all", "[forwarded_cancellation]") {
    asio::io_context io{1};
    asio::cancellation_signal signal;
    std::exception_ptr error;
    asio::co_spawn(
        io, await_as_any_type_cancels(await_on(strand_on(io.get_executor()), wait_for_ever())),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr met) { error = met; }));
    io.poll();
    signal.emit(GENERATE(asio::cancellation_type::partial, asio::cancellation_type::total));
    io.restart();
    io.poll();
    CHECK(support::is_abort(error));
}

TEST_CASE("work whose time is over before it begins is cancelled", "[forwarded_cancellation]") {
    asio::io_context io;
    asio::thread_pool elsewhere{1};
    const Strand strand = strand_on(elsewhere.get_executor());
    support::run(io, [&]() -> asio::awaitable<void> {
        const asio::any_io_executor callers = co_await asio::this_coro::executor;
        ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state, callers,
                                           AmbientExecutor{strand}};
        cancellation.cancel_at(txscope::detail::Clock::now());
        while (!cancellation.expired()) std::this_thread::yield();
        std::exception_ptr error;
        try {
            co_await cancellation.spawn(wait_for_ever());
        } catch (...) {
            error = std::current_exception();
        }
        CHECK(support::is_abort(error));
    });
}

TEST_CASE("a context that is destroyed destroys work and who awaits it",
          "[forwarded_cancellation]") {
    const auto held = std::make_shared<int>();
    {
        asio::io_context io{GENERATE(1, 2)};
        const auto await = [](Strand strand, std::shared_ptr<int>) -> asio::awaitable<void> {
            co_await await_on(std::move(strand), wait_for_ever());
        };
        asio::co_spawn(io, await(strand_on(io.get_executor()), held), asio::detached);
        if (GENERATE(false, true)) io.poll();
        CHECK(held.use_count() == 2);
    }
    CHECK(held.use_count() == 1);
}
