// What a server may answer is anything. Input is a conversation, as `support::Conversation` says.

#include "support/conversation.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

// What comes of it when the bytes arrive in pieces of that size, and then the connection ends.
std::string notes(const support::Conversation& conversation, std::size_t size) {
    support::Talk talk{conversation.requests, {.max_result = 4096, .max_prepared_statements = 2}};
    std::string_view rest = conversation.server;
    while (!rest.empty()) {
        const auto piece = rest.substr(0, size);
        talk.hear(piece);
        rest.remove_prefix(piece.size());
    }
    talk.end();
    if (!talk.everybody_is_answered()) std::abort();
    return talk.notes();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto conversation =
        support::Conversation::parse({reinterpret_cast<const char*>(data), size});
    if (notes(conversation, 7) != notes(conversation, size + 1)) std::abort();
    return 0;
}
