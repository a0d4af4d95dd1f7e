#include "support/catch.hpp"
#include "support/run.hpp"
#include <txscope/net/ambient_executor.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using txscope::detail::AmbientContext;
using txscope::detail::AmbientExecutor;
using txscope::detail::Strand;
using txscope::detail::strand_on;
using txscope::detail::Task;
using txscope::detail::WaitMemory;

static_assert(sizeof(AmbientExecutor) <= 2 * sizeof(void*));  // or any_io_executor allocates

namespace {

struct Said final : AmbientContext {
    explicit Said(const Strand& its) : AmbientContext{its.state()}, on{its} {}
    const Strand on;
};

struct AsksWhenDestroyed {
    explicit AsksWhenDestroyed(asio::io_context* context) : io{context} {}
    AsksWhenDestroyed(AsksWhenDestroyed&& other) noexcept : io{std::exchange(other.io, nullptr)} {}
    ~AsksWhenDestroyed() {
        if (io != nullptr) strand_on(io->get_executor());
    }
    asio::io_context* io;
};

// On what a scope may be opened: something beneath that runs one function at a time, or not.
enum class Beneath {
    context_for_one_thread,
    context,
    strand,
    strand_of_any
};

// The executor of a scope as a coroutine has it.
struct Scope {
    explicit Scope(Beneath beneath) : io{beneath == Beneath::context_for_one_thread ? 1 : 2} {
        asio::any_io_executor executor = io.get_executor();
        if (beneath == Beneath::strand) executor = asio::make_strand(io);
        if (beneath == Beneath::strand_of_any) executor = asio::make_strand(executor);
        const Strand strand = strand_on(executor);
        said = new Said{strand};
        on = std::make_unique<AmbientExecutor>(said);
    }

    template <typename Function>
    void post_last(WaitMemory& memory, Function function) const {
        on->context().strand.post(Task::make(on->context(), std::move(function)), memory);
    }
    asio::any_io_executor with_work() const {
        return asio::prefer(asio::any_io_executor{*on}, asio::execution::outstanding_work.tracked);
    }
    bool has_work() {
        io.restart();
        io.poll();
        return !io.stopped();
    }

    asio::io_context io;
    boost::intrusive_ptr<const Said> said;
    std::unique_ptr<AmbientExecutor> on;
};

Beneath anything() {
    return GENERATE(Beneath::context_for_one_thread, Beneath::context, Beneath::strand,
                    Beneath::strand_of_any);
}

}  // namespace

TEST_CASE("an ambient executor keeps its context at work while it is held with outstanding work",
          "[ambient_executor]") {
    Scope scope{anything()};
    CHECK_FALSE(scope.has_work());
    auto first = scope.with_work();
    auto second = asio::prefer(first, asio::execution::outstanding_work.tracked);
    CHECK(scope.has_work());
    first = nullptr;
    CHECK(scope.has_work());
    second = nullptr;
    CHECK_FALSE(scope.has_work());
    first = scope.with_work();
    scope.on.reset();
    CHECK(scope.has_work());
    second = asio::prefer(first, asio::execution::outstanding_work.untracked);
    first = nullptr;
    CHECK_FALSE(scope.has_work());
}

TEST_CASE("what is ambient knows of the executors with outstanding work that carry it",
          "[ambient_executor]") {
    Scope scope{anything()};
    const auto other = AmbientExecutor{new Said{scope.on->strand()}};
    CHECK(scope.said->outstanding == 0);
    {
        const auto branch = scope.with_work();
        auto within = branch;
        CHECK(scope.said->outstanding == 2);
        const auto moved = std::move(within);
        CHECK(scope.said->outstanding == 2);
        CHECK(other.context().outstanding == 0);
    }
    CHECK(scope.said->outstanding == 0);
}

TEST_CASE("an ambient executor with outstanding work is the same as without",
          "[ambient_executor]") {
    Scope scope{anything()};
    const auto tracked = scope.with_work();
    CHECK(tracked == asio::any_io_executor{*scope.on});
    const AmbientContext* running = nullptr;
    asio::post(tracked, [&] { running = AmbientExecutor::running(); });
    CHECK(AmbientExecutor::running() == nullptr);
    scope.has_work();
    CHECK(running == scope.said.get());
    CHECK(AmbientExecutor::running() == nullptr);
}

TEST_CASE("what is ambient is that of what runs, and again that when something within has ended",
          "[ambient_executor]") {
    Scope scope{anything()};
    const boost::intrusive_ptr<const Said> inner{new Said{scope.on->strand()}};
    const AmbientExecutor plain{scope.on->strand()};
    std::vector<const AmbientContext*> seen;
    const auto look = [&] { seen.push_back(AmbientExecutor::running()); };
    asio::post(*scope.on, [&] {
        asio::dispatch(AmbientExecutor{inner}, look);
        look();
        asio::dispatch(plain, look);
        look();
        AmbientExecutor::goes_on(AmbientExecutor{inner});
        look();
        AmbientExecutor::goes_on(scope.io.get_executor());
        look();
    });
    scope.has_work();
    CHECK(seen == std::vector<const AmbientContext*>{inner.get(), scope.said.get(), nullptr,
                                                     scope.said.get(), inner.get(), nullptr});
}

TEST_CASE("what is posted comes after all that was ready or about to be", "[ambient_executor]") {
    const Beneath beneath = anything();
    Scope scope{beneath};
    std::string order;
    WaitMemory memory;
    const auto branch = [&](char name) {
        scope.on->execute([&, name] {
            order += name;
            scope.post_last(memory, [&, name] {
                CHECK(scope.on->strand().running_in_this_thread());
                CHECK(AmbientExecutor::running() == scope.said.get());
                order += static_cast<char>(name - 'a' + 'A');
            });
        });
    };
    // One of Asio's strands knows what is on it, not what the context is about to put there.
    asio::any_io_executor from = *scope.on;
    if (beneath == Beneath::context_for_one_thread || beneath == Beneath::context)
        from = scope.io.get_executor();
    asio::post(from, [&] { branch('a'); });
    asio::post(from, [&] { branch('b'); });
    scope.io.run();
    CHECK(order == "abAB");
}

TEST_CASE("functions run in the order in which they were given, and never where they must not",
          "[ambient_executor]") {
    Scope scope{anything()};
    std::string order;
    const auto add = [&](char name) { return [&order, name] { order += name; }; };
    asio::post(*scope.on, [&] {
        asio::post(*scope.on, add('c'));
        asio::dispatch(*scope.on, add('a'));
        asio::post(*scope.on, add('d'));
        order += 'b';
    });
    asio::post(*scope.on, [&] { asio::post(*scope.on, add('e')); });
    CHECK(order.empty());
    scope.io.run();
    CHECK(order == "abcde");
}

TEST_CASE("what has run may be given again", "[ambient_executor]") {
    struct Step : Task {
        Step(std::string& its, char named) : Task{&finish}, order{its}, name{named} {}
        static void finish(Task* task, bool) {
            auto* const self = static_cast<Step*>(task);
            self->order += self->name;
        }
        std::string& order;
        const char name;
    };
    Scope scope{anything()};
    std::string order;
    Step a{order, 'a'};
    Step b{order, 'b'};
    Step c{order, 'c'};
    for (const auto& steps : {std::vector{&a, &b, &c}, std::vector{&c, &a, &b}}) {
        for (Step* step : steps) scope.said->strand.execute(Task::Owner{step});
        scope.io.restart();
        scope.io.poll();
        order += ' ';
    }
    CHECK(order == "abc cab ");
}

TEST_CASE("a function that throws does not keep the others from running", "[ambient_executor]") {
    Scope scope{anything()};
    int ran = 0;
    for (int i = 0; i < 3; ++i)
        asio::post(*scope.on, [&] {
            ++ran;
            throw std::runtime_error{"thrown on purpose"};
        });
    for (int i = 1; i <= 3; ++i) {
        CHECK_THROWS_AS(scope.io.run(), std::runtime_error);
        CHECK(ran == i);
        CHECK_FALSE(scope.on->strand().running_in_this_thread());
    }
}

TEST_CASE("a context that is destroyed destroys what was to run", "[ambient_executor]") {
    const auto held = std::make_shared<int>();
    WaitMemory memory;
    {
        Scope scope{anything()};
        // Each holds the executor, as coroutines do.
        for (int i = 0; i < 3; ++i) {
            asio::post(*scope.on, [held, on = *scope.on] {});
            scope.post_last(memory, [held, on = scope.with_work()] {});
        }
        CHECK(held.use_count() == 7);
    }
    CHECK(held.use_count() == 1);
}

TEST_CASE("functions run one at a time, whoever runs the context and gives them",
          "[ambient_executor]") {
    Scope scope{GENERATE(Beneath::context, Beneath::strand, Beneath::strand_of_any)};
    constexpr int each = 2000;
    int ran = 0;  // ThreadSanitizer says so, too
    const auto give = [&] {
        for (int i = 0; i < each; ++i) {
            if (i % 3 == 0) {
                const auto memory = std::make_shared<WaitMemory>();
                scope.post_last(*memory, [&ran, memory] { ++ran; });
            } else if (i % 3 == 1) {
                asio::post(scope.with_work(), [&ran] { ++ran; });
            } else {
                asio::dispatch(*scope.on, [&ran] { ++ran; });
            }
        }
    };
    auto work = scope.with_work();
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) threads.emplace_back([&] { scope.io.run(); });
    for (int i = 0; i < 2; ++i) threads.emplace_back(give);
    give();
    threads[3].join();
    threads[2].join();
    work = nullptr;
    threads[0].join();
    threads[1].join();
    CHECK(ran == 3 * each);
}

TEST_CASE("no strand is made where there is one", "[ambient_executor]") {
    SECTION("a context for one thread") {
        asio::io_context io{
            GENERATE(1, BOOST_ASIO_CONCURRENCY_HINT_UNSAFE, BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO)};
        CHECK(strand_on(io.get_executor()) == strand_on(io.get_executor()));
    }
    SECTION("any other is none") {
        asio::io_context io{GENERATE(-1, 0, 2, BOOST_ASIO_CONCURRENCY_HINT_SAFE)};
        CHECK(strand_on(io.get_executor()) != strand_on(io.get_executor()));
        asio::thread_pool pool{1};
        CHECK(strand_on(pool.get_executor()) != strand_on(pool.get_executor()));
    }
    SECTION("none of a context that was where this one is now") {
        std::optional<asio::io_context> io;
        io.emplace(1);
        CHECK(strand_on(io->get_executor()) == strand_on(io->get_executor()));
        io.emplace(2);
        CHECK(strand_on(io->get_executor()) != strand_on(io->get_executor()));
        io.emplace(1);
        CHECK(strand_on(io->get_executor()) == strand_on(io->get_executor()));
    }
    SECTION("none of a context that was here, and was asked while it was destroyed") {
        const auto held = std::make_shared<int>();
        std::optional<asio::io_context> io;
        io.emplace(1);
        asio::post(*io, [asks = AsksWhenDestroyed{&*io}] {});
        io.emplace(1);
        AmbientExecutor{strand_on(io->get_executor())}.execute([held] {});
        CHECK(held.use_count() == 2);
        io.reset();
        CHECK(held.use_count() == 1);
    }
    SECTION("one of ours, with or without what is ambient") {
        Scope scope{Beneath::context};
        const Strand strand = scope.on->strand();
        CHECK(strand_on(*scope.on) == strand);
        CHECK(strand_on(scope.with_work()) == strand);
        CHECK(strand_on(AmbientExecutor{strand}) == strand);
    }
    SECTION("one of Asio's") {
        asio::io_context io;
        const auto strand = asio::make_strand(io);
        bool on_it = false;
        asio::post(AmbientExecutor{strand_on(strand)},
                   [&] { on_it = strand.running_in_this_thread(); });
        io.run();
        CHECK(on_it);
    }
}
