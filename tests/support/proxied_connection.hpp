#pragma once

#include "support/fault.hpp"
#include "support/proxy_pipe.hpp"
#include "support/tally.hpp"
#include "support/wire.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/error_code.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace support {

/// A client's connection to a proxy, and the proxy's to the server on its behalf. Lives in the
/// proxy's thread.
///
/// Messages are passed on whole unless a fault cuts through one, so what passes never depends on
/// how the network happened to slice the stream.
class ProxiedConnection : public std::enable_shared_from_this<ProxiedConnection> {
public:
    using Socket = asio::ip::tcp::socket;

    ProxiedConnection(Socket client, FaultPlan& plan, Tally& tally)
        : plan_{plan},
          tally_{tally},
          client_{std::move(client)},
          server_{client_.get_executor()},
          to_server_{client_.get_executor(), false},
          to_client_{client_.get_executor(), true} {}

    void start(const asio::ip::tcp::endpoint& server);

    bool closed() const { return closed_; }

    /// Close both sides at once, whatever is under way.
    void close(Deed how);

    /// Pass on again what was stalled.
    void resume();

private:
    ProxyPipe& pipe(Direction way) { return way == Direction::to_server ? to_server_ : to_client_; }
    Socket& source(Direction way) { return way == Direction::to_server ? client_ : server_; }
    Socket& sink(Direction way) { return way == Direction::to_server ? server_ : client_; }
    bool blocked(Direction way) {
        return !connected_ || ending_ || pipe(way).stalled || plan_.conditions(way).stalled;
    }

    void pump(Direction way);
    void receive(Direction way);
    void process(Direction way);
    bool from_client(const wire::Message& message);
    void before_start_up(const wire::Message& message);
    void from_server(const wire::Message& message);
    void forward(Direction way, std::string_view bytes);
    void emit(Direction way, std::string_view bytes) {
        pipe(way).put(bytes, plan_.conditions(way).delay);
        write(way);
    }
    void await_delayed(Direction way);
    void write(Direction way);
    void strike(Deed deed);
    void end();

    FaultPlan& plan_;
    Tally& tally_;
    Socket client_;
    Socket server_;
    ProxyPipe to_server_;
    ProxyPipe to_client_;
    wire::Conversation conversation_;
    std::optional<Deed> after_batch_;  // the answer is withheld until the batch is over
    Deed how_ = Deed::cut;             // how the connection is to be closed
    bool connected_ = false;           // to the server
    bool session_ = false;             // it got as far as a start-up message
    bool struck_ = false;
    bool ending_ = false;
    bool closed_ = false;
};

inline void ProxiedConnection::start(const asio::ip::tcp::endpoint& server) {
    server_.async_connect(server, [self = shared_from_this()](boost::system::error_code error) {
        if (error || self->closed_) return self->close(Deed::reset);
        for (Socket* socket : {&self->client_, &self->server_}) {
            boost::system::error_code none;  // a peer that is gone already is found by reading
            socket->set_option(asio::ip::tcp::no_delay{true}, none);
            socket->non_blocking(true, none);
        }
        self->connected_ = true;
        self->pump(Direction::to_server);
        self->pump(Direction::to_client);
    });
}

inline void ProxiedConnection::pump(Direction way) {
    if (blocked(way) || pipe(way).reading || pipe(way).congested()) return;
    pipe(way).reading = true;
    source(way).async_wait(Socket::wait_read,
                           [self = shared_from_this(), way](boost::system::error_code error) {
                               self->pipe(way).reading = false;
                               if (error || self->closed_) return;
                               // What the client has sent by now it sent before it saw this answer.
                               if (way == Direction::to_client) self->receive(Direction::to_server);
                               self->receive(way);
                               self->pump(way);
                           });
}

inline void ProxiedConnection::receive(Direction way) {
    std::array<char, 65536> bytes;
    while (!blocked(way) && !pipe(way).congested()) {
        boost::system::error_code error;
        const std::size_t size = source(way).read_some(asio::buffer(bytes), error);
        if (error == asio::error::would_block) return;
        if (error) return end();
        pipe(way).framer.feed({bytes.data(), size});
        process(way);
    }
}

inline void ProxiedConnection::process(Direction way) {
    wire::Framer& framer = pipe(way).framer;
    try {
        while (!blocked(way)) {
            const auto message = framer.next();
            if (!message) return;
            if (const auto deed = plan_.due_before_message(way)) {
                framer.put_back(*message);
                strike(*deed);
            } else if (way == Direction::to_client) {
                from_server(*message);
            } else if (!from_client(*message)) {
                framer.put_back(*message);
            }
        }
    } catch (const std::exception&) {
        close(Deed::reset);  // this is not PostgreSQL's protocol
    }
}

/// False when a fault struck before the message.
inline bool ProxiedConnection::from_client(const wire::Message& message) {
    if (message.type == '\0') {
        before_start_up(message);
        return true;
    }
    const wire::Text statement = conversation_.statement_of(message);
    if (statement) {
        if (const auto deed = plan_.due(When::Event::statement, *statement)) {
            strike(*deed);
            return false;
        }
    }
    if (conversation_.started()) {
        const bool begins = conversation_.client_says(message);
        tally_.update([&](ProxyCounts& counts) {
            counts.round_trips += begins;
            counts.most_unanswered = std::max(counts.most_unanswered, conversation_.unanswered());
            ++counts.sent[message.type];
            if (statement) counts.statements.push_back(*statement);
        });
        if (plan_.pipelines_stall && conversation_.unanswered() > 1)
            to_server_.stalled = to_client_.stalled = true;
    }
    std::string bytes{message.bytes};
    if (const std::size_t at = plan_.find_garbled(bytes); at != std::string::npos) bytes[at] = '?';
    forward(Direction::to_server, bytes);
    return true;
}

inline void ProxiedConnection::before_start_up(const wire::Message& message) {
    const auto code = wire::read_number(message.body);
    if (code == wire::ssl_request || code == wire::gssenc_request)
        return emit(Direction::to_client, "N");
    session_ = code != wire::cancel_request;
    if (session_) to_server_.framer.start_up_is_over();
    tally_.update([&](ProxyCounts& counts) {
        counts.cancel_requests += !session_;
        counts.connections += session_;
        counts.open += session_;
    });
    forward(Direction::to_server, message.bytes);
}

inline void ProxiedConnection::from_server(const wire::Message& message) {
    const auto answered = conversation_.server_says(message);
    if (answered.completes && !after_batch_)
        after_batch_ = plan_.due(When::Event::answer, *answered.completes);
    if (!after_batch_) return forward(Direction::to_client, message.bytes);
    to_client_.held += message.bytes;
    if (answered.ready) {
        const Deed deed = *after_batch_;
        after_batch_.reset();
        strike(deed);
    }
}

inline void ProxiedConnection::forward(Direction way, std::string_view bytes) {
    if (pipe(way).swallowed || plan_.conditions(way).swallowed) return;
    std::size_t size = bytes.size();
    const auto deed = plan_.due_within(way, size);
    emit(way, bytes.substr(0, size));
    if (!deed) return;
    pipe(way).held += bytes.substr(size);
    strike(*deed);
}

inline void ProxiedConnection::write(Direction way) {
    ProxyPipe& pipe = this->pipe(way);
    if (pipe.writing || closed_) return;
    if (pipe.request.empty()) {
        if (ending_ && this->pipe(opposite(way)).idle()) close(how_);
        if (!pipe.delayed.empty()) await_delayed(way);
        return;
    }
    pipe.writing = true;
    pipe.in_flight = std::exchange(pipe.request, {});
    asio::async_write(
        sink(way), asio::buffer(pipe.in_flight),
        [self = shared_from_this(), way](boost::system::error_code error, std::size_t) {
            self->pipe(way).writing = false;
            if (self->closed_) return;
            if (error) {
                // The reader is gone; what it said at last is still to pass.
                self->pipe(way).request.clear();
                self->receive(opposite(way));
                self->end();
            }
            self->write(way);
            self->pump(way);
        });
}

inline void ProxiedConnection::await_delayed(Direction way) {
    pipe(way).timer.expires_at(pipe(way).delayed.front().first);
    pipe(way).timer.async_wait([self = shared_from_this(), way](boost::system::error_code error) {
        if (error || self->closed_) return;
        self->pipe(way).release(ProxyPipe::Clock::now());
        self->write(way);
    });
}

inline void ProxiedConnection::strike(Deed deed) {
    const bool closes = deed == Deed::cut || deed == Deed::reset;
    for (ProxyPipe* pipe : {&to_server_, &to_client_}) {
        if (deed == Deed::stall) pipe->stalled = true;
        if (deed == Deed::swallow) pipe->swallowed = true;
        if (deed != Deed::stall) pipe->held.clear();
    }
    struck_ = closes;
    how_ = deed;
    if (closes) return end();
    tally_.update([](ProxyCounts& counts) { ++counts.struck; });
}

/// Close as soon as all that was to pass has.
inline void ProxiedConnection::end() {
    if (ending_) return;
    ending_ = true;
    for (ProxyPipe* pipe : {&to_server_, &to_client_})
        pipe->release(ProxyPipe::Clock::time_point::max());
    write(Direction::to_server);
    write(Direction::to_client);
}

inline void ProxiedConnection::close(Deed how) {
    if (closed_) return;
    closed_ = ending_ = true;
    boost::system::error_code none;
    if (how == Deed::reset) client_.set_option(asio::socket_base::linger{true, 0}, none);
    client_.close(none);
    server_.close(none);
    to_server_.timer.cancel();
    to_client_.timer.cancel();
    tally_.update([&](ProxyCounts& counts) {
        counts.open -= session_;
        counts.struck += struck_;
    });
}

inline void ProxiedConnection::resume() {
    for (const Direction way : {Direction::to_client, Direction::to_server}) {
        pipe(way).stalled = pipe(way).swallowed = false;
        const std::string held = std::exchange(pipe(way).held, {});
        if (closed_) return;
        if (!held.empty()) forward(way, held);
        process(way);
        pump(way);
    }
}

}  // namespace support
