#include "support/catch.hpp"
#include "support/client.hpp"
#include "support/conversation.hpp"
#include "support/conversation_files.hpp"
#include "support/database.hpp"

#include <libpq-fe.h>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace protocol_test {

/// Talks with a real server over the socket that libpq has opened.
class LiveTalk {
public:
    LiveTalk(const std::string& dsn, const std::string& requests)
        : connection_{PQconnectdb(dsn.c_str()), &PQfinish}, dsn_{dsn}, requests_{requests} {
        if (PQstatus(connection_.get()) != CONNECTION_OK)
            throw std::runtime_error{PQerrorMessage(connection_.get())};
    }

    /// Until all is asked and answered; what came of it.
    std::string run() {
        support::Talk talk{requests_, {}, [&](std::string_view sql) { elsewhere(sql); }};
        while (!talk.over() && !talk.pipeline.failed()) {
            send(talk);
            receive(talk);
        }
        return talk.notes();
    }

    /// Every byte that the server has sent.
    const std::string& heard() const { return heard_; }

private:
    int socket() const { return PQsocket(connection_.get()); }

    void elsewhere(std::string_view sql) const {
        std::string text{sql};
        const std::string placeholder = "$pid";
        if (const auto at = text.find(placeholder); at != text.npos)
            text.replace(at, placeholder.size(), std::to_string(PQbackendPID(connection_.get())));
        support::query(dsn_, text);
    }

    void send(support::Talk& talk) const {
        while (!talk.output().empty()) {
            const std::string_view bytes = talk.output();
            const ssize_t sent = ::send(socket(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return;  // what the server said last is still to be read
            talk.pipeline.sent(static_cast<std::size_t>(sent));
        }
    }

    void receive(support::Talk& talk) {
        pollfd ready{.fd = socket(), .events = POLLIN, .revents = 0};
        if (::poll(&ready, 1, 60'000) != 1) throw std::runtime_error{"the server is silent"};
        const auto space = talk.pipeline.space();
        const ssize_t size = ::recv(socket(), space.data(), space.size(), 0);
        if (size <= 0) return talk.end();
        heard_.append(space.data(), static_cast<std::size_t>(size));
        talk.pipeline.received(static_cast<std::size_t>(size));
        talk.take_events();
    }

    std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
    std::string dsn_;
    std::string requests_;
    std::string heard_;
};

// In which order a server reports several settings is its affair.
std::string with_sorted_parameters(const std::string& notes) {
    std::vector<std::string> lines;
    std::istringstream text{notes};
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    const auto is_parameter = [](const std::string& line) {
        return line.starts_with("parameter ");
    };
    for (auto begin = lines.begin(); begin != lines.end();) {
        const auto end = std::find_if_not(begin, lines.end(), is_parameter);
        std::sort(begin, end);
        begin = end == lines.end() ? end : std::next(end);
    }
    std::string sorted;
    for (const std::string& line : lines) sorted += line + '\n';
    return sorted;
}

}  // namespace protocol_test

// TXSCOPE_RECORD=1 writes the recordings and their answers anew.
TEST_CASE("a server answers recorded conversations as it did", "[protocol]") {
    const support::Database database;
    const auto folder = support::conversation_folder();
    for (const std::string& name : support::conversation_names()) {
        CAPTURE(name);
        const auto file = support::read_file(folder / "conversations" / name);
        const auto recorded = support::Conversation::parse(file);
        protocol_test::LiveTalk live{database.dsn(), recorded.requests};
        const std::string notes = live.run();
        if (std::getenv("TXSCOPE_RECORD") != nullptr) {
            std::ofstream{folder / "conversations" / name, std::ios::binary} << recorded.requests
                                                                             << '\n'
                                                                             << live.heard();
            std::ofstream{folder / "answers" / name, std::ios::binary} << notes;
        }
        CHECK(protocol_test::with_sorted_parameters(notes) ==
              protocol_test::with_sorted_parameters(support::read_file(folder / "answers" / name)));
    }
}
