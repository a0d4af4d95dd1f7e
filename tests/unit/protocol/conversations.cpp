#include "support/catch.hpp"
#include "support/conversation.hpp"
#include "support/conversation_files.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using support::Conversation;
using support::Talk;

namespace {

struct Recording {
    explicit Recording(const std::string& name)
        : conversation{Conversation::parse(
              support::read_file(support::conversation_folder() / "conversations" / name))},
          answers{support::read_file(support::conversation_folder() / "answers" / name)} {}

    Conversation conversation;
    std::string answers;
};

// What comes of a conversation whose bytes arrive in pieces of that size.
std::string heard_in_pieces(const Conversation& conversation, std::size_t size) {
    Talk talk{conversation.requests};
    for (std::string_view rest = conversation.server; !rest.empty();) {
        talk.hear(rest.substr(0, size));
        rest.remove_prefix(std::min(size, rest.size()));
    }
    return talk.notes();
}

std::string heard_cut_at(const Conversation& conversation, std::size_t cut) {
    Talk talk{conversation.requests};
    const std::string_view bytes = conversation.server;
    talk.hear(bytes.substr(0, cut));
    talk.hear(bytes.substr(cut));
    return talk.notes();
}

class Random {
public:
    explicit Random(std::uint64_t seed) : state_{seed} {}
    std::size_t below(std::size_t limit) {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(state_ >> 33) % limit;
    }
    char byte() { return static_cast<char>(below(256)); }

private:
    std::uint64_t state_;
};

std::string changed_somehow(std::string bytes, Random& random) {
    for (std::size_t changes = 1 + random.below(3); changes > 0 && !bytes.empty(); --changes) {
        const std::size_t at = random.below(bytes.size());
        const std::size_t size = random.below(12);
        switch (random.below(5)) {
            case 0:
                bytes[at] = random.byte();
                break;
            case 1:
                bytes.erase(at, size);
                break;
            case 2:
                bytes.insert(at, bytes.substr(random.below(bytes.size()), size));
                break;
            case 3:
                bytes.insert(at, 1, random.byte());
                break;
            default:
                bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        }
    }
    return bytes;
}

// Whatever the bytes are, everybody has an answer in the end.
void check_everybody_is_answered(const std::string& requests, std::string_view bytes) {
    Talk talk{requests};
    talk.hear(bytes);
    talk.end();
    CHECK(talk.everybody_is_answered());
    CHECK(talk.pipeline.failed());
}

}  // namespace

TEST_CASE("a recorded conversation gives the same answers wherever its bytes are cut",
          "[protocol]") {
    for (const std::string& name : support::conversation_names()) {
        const Recording recording{name};
        CAPTURE(name);
        const std::size_t size = recording.conversation.server.size();
        for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, std::size_t{1000}, size})
            CHECK(heard_in_pieces(recording.conversation, piece) == recording.answers);
        const std::size_t step = 1 + size / 2'000;  // every byte of all but the largest
        for (std::size_t cut = 0; cut < size; cut += step)
            if (heard_cut_at(recording.conversation, cut) != recording.answers)
                FAIL("otherwise when cut at " << cut);
    }
}

TEST_CASE("a conversation that breaks off anywhere leaves nobody without an answer", "[protocol]") {
    for (const std::string& name : support::conversation_names()) {
        const Recording recording{name};
        CAPTURE(name);
        const std::string_view bytes = recording.conversation.server;
        const std::size_t step = 1 + bytes.size() / 2'000;
        for (std::size_t size = 0; size < bytes.size(); size += step)
            check_everybody_is_answered(recording.conversation.requests, bytes.substr(0, size));
    }
}

TEST_CASE("a conversation with other bytes in it gives answers or the loss of the connection",
          "[protocol]") {
    Random random{20240229};
    for (const std::string& name : support::conversation_names()) {
        const Recording recording{name};
        CAPTURE(name);
        for (int round = 0; round < 500; ++round)
            check_everybody_is_answered(recording.conversation.requests,
                                        changed_somehow(recording.conversation.server, random));
    }
}

TEST_CASE("random bytes lose the connection, with a reason that names them", "[protocol]") {
    Random random{1};
    for (int round = 0; round < 2'000; ++round) {
        std::string bytes(random.below(200), '\0');
        std::ranges::generate(bytes, [&] { return random.byte(); });
        check_everybody_is_answered("execute SELECT 1\nsync\n", bytes);
    }
    Talk talk{"execute SELECT 1\nsync\n"};
    talk.hear("HTTP/1.1 400 Bad Request\r\n");
    CHECK(talk.notes() ==
          "0 lost -> I\n"
          "lost: the server sent CopyOutResponse of an impossible length: 1414811695\n");
}
