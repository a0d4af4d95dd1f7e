#include "support/catch.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/run.hpp"
#include "support/wire_connection.hpp"
#include <txscope/core/error.hpp>
#include <txscope/postgres/connection.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <atomic>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace half_closed {

namespace asio = boost::asio;
using Socket = asio::ip::tcp::socket;

/// Passes on what one client and the server say, until the server has said `last`: then it says no
/// more, and goes on listening to the client, as a tunnel does whose far end was closed.
class HalfClosingTunnel {
public:
    explicit HalfClosingTunnel(std::string last)
        : last_{std::move(last)}, thread_{[this] { serve(); }} {}
    HalfClosingTunnel(const HalfClosingTunnel&) = delete;
    ~HalfClosingTunnel() { thread_.join(); }

    std::string dsn(std::string_view database) const {
        return support::server().tcp_dsn(database) +
               " sslmode=disable port=" + std::to_string(acceptor_.local_endpoint().port());
    }
    bool half_closed() const { return half_closed_; }

private:
    void serve() {
        boost::system::error_code over;
        acceptor_.accept(client_);
        server_.connect({asio::ip::address_v4::loopback(), support::server().port()});
        std::thread answers{[this] { pass_answers(); }};
        std::array<char, 4096> bytes{};
        while (!over) {
            const auto size = client_.read_some(asio::buffer(bytes), over);
            if (!over && !half_closed_) asio::write(server_, asio::buffer(bytes, size), over);
        }
        server_.shutdown(Socket::shutdown_both, over);
        answers.join();
    }
    void pass_answers() {
        boost::system::error_code over;
        std::array<char, 4096> bytes{};
        while (!over && !half_closed_) {
            const auto size = server_.read_some(asio::buffer(bytes), over);
            if (over) break;
            const std::string_view said{bytes.data(), size};
            asio::write(client_, asio::buffer(said), over);
            if (said.find(last_) == said.npos) continue;
            client_.shutdown(Socket::shutdown_send, over);
            half_closed_ = true;
        }
    }

    const std::string last_;
    asio::io_context io_;
    asio::ip::tcp::acceptor acceptor_{io_, {asio::ip::address_v4::loopback(), 0}};
    Socket client_{io_};
    Socket server_{io_};
    std::atomic<bool> half_closed_ = false;
    std::thread thread_;
};

// The reactor has announced both at once; and nothing that is sent then makes the other end say more.
TEST_CASE("an end that has come along with an answer loses the statements behind it",
          "[half_closed]") {
    const support::Database database;
    HalfClosingTunnel tunnel{"goodbye"};
    asio::io_context io;
    const auto connection =
        support::run(io, txscope::Connection::open(io.get_executor(), tunnel.dsn(database.name()),
                                                   16, support::before_long()));
    const auto ask = [&](const char* sql) {
        auto response = connection->make_response();
        connection->submit({{txscope::Statement{sql}, response}});
        connection->flush();
        return response;
    };
    const auto last = ask("SELECT 'goodbye'");
    support::block_until([&] { return tunnel.half_closed(); });
    support::run(io, connection->answered(last));
    CHECK(last->result.one().get<std::string>(0) == "goodbye");

    const auto behind = ask("SELECT 1");
    support::run(io, connection->answered(behind));
    CHECK(support::is<txscope::ConnectionLost>(behind->error));
}

}  // namespace half_closed
