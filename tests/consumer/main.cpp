#include <txscope/txscope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <fmt/format.h>

#include <exception>
#include <string>

namespace asio = boost::asio;

int version();  // as version.cpp has it, the program's other file

// Needs no server: a scope without SQL touches no connection.
int main() {
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, "host=server.invalid"};
    txscope::TransactionScope scope{sessions};
    bool ended = false;
    asio::co_spawn(io, scope([&]() -> asio::awaitable<void> { co_return; }),
                   [&](const std::exception_ptr& error) { ended = error == nullptr; });
    io.run();
    fmt::print("txscope {}: {}\n", version(), ended ? "a scope has ended" : "no scope ended");
    return ended ? 0 : 1;
}
