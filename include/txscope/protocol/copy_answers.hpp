#pragma once

#include <txscope/core/config.hpp>
#include <txscope/protocol/answers.hpp>
#include <txscope/protocol/copy.hpp>

/// What the server says to COPY.
namespace txscope::protocol {

TXSCOPE_INLINE Answers::Taken Answers::begin_copy(const Message& message, Request& request,
                                                  Event& event) {
    const auto response = parse_copy_response(message);
    if (!response) return Taken::malformed;
    if (request.copy != response->copy) {
        fail({.reason = Failure::Reason::copy_not_asked,
              .text = "COPY was executed like a statement without it"});
        return Taken::well;
    }
    switch (response->copy) {
        case Copy::in:
            event.kind = Event::Kind::copy_in;
            request.awaits = Awaits::copy_in;
            break;
        case Copy::out:
            event.kind = Event::Kind::copy_out;
            request.awaits = Awaits::copy_out;
            break;
        default:
            event.kind = Event::Kind::copy_both;
            request.awaits = Awaits::copy_both;
    }
    if (response->copy != Copy::out) requests_.begin_copy_in();
    event.response = request.response;
    event.binary = response->binary;
    return Taken::well;
}

/// While the server copies out.
TXSCOPE_INLINE Answers::Taken Answers::take_copied(const Message& message, Request& request,
                                                   Event& event) {
    if (message.type == MessageType::copy_data) {
        event = {
            .kind = Event::Kind::copy_data, .response = request.response, .value = message.body};
        return Taken::well;
    }
    if (message.type != MessageType::copy_done) return Taken::unexpected;
    if (!message.body.empty()) return Taken::malformed;
    event = {.kind = Event::Kind::copy_done, .response = request.response};
    request.awaits = request.awaits == Awaits::copy_both ? Awaits::copy_in : request.after_copy();
    return Taken::well;
}

}  // namespace txscope::protocol
