#include "support/catch.hpp"
#include <txscope/session/detail/ambient_executor.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>

#include <memory>
#include <string>

namespace asio = boost::asio;
using txscope::detail::Ambient;
using txscope::detail::ambient_of;
using txscope::detail::AmbientExecutor;
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

TEST_CASE("what is posted comes after all that was ready or about to be", "[ambient_executor]") {
    Scope scope;
    const AmbientExecutor on = *scope.executor.target<AmbientExecutor>();
    std::string order;
    const auto branch = [&](char name) {
        on.execute([&, name] {
            order += name;
            on.post([&, name] {
                CHECK(on.strand().running_in_this_thread());
                CHECK(AmbientExecutor::running() == scope.ambient.get());
                order += static_cast<char>(name - 'a' + 'A');
            });
        });
    };
    asio::post(scope.io, [&] { branch('a'); });
    asio::post(scope.io, [&] { branch('b'); });
    scope.io.run();
    CHECK(order == "abAB");
}
