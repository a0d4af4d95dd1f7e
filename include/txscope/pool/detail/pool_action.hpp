#pragma once

#include <txscope/pool/detail/connection_node.hpp>

#include <cstdint>

namespace txscope::detail {

class Waiter;

/// What a `PoolMachine` has decided is to be done.
struct PoolAction {
    enum class Kind : std::uint8_t {
        none,
        answer,  ///< Tell `waiter` that it is granted or failed.
        open,    ///< Open a connection: `opened` or `opening_failed` follows.
        ping,    ///< See whether the server of `connection` answers: `pinged` follows.
        clean,   ///< Bring `connection` back to where it can be lent: `cleaned` follows.
        close,   ///< Close `connection`, whose `retirement` says why; the machine knows it no more.
        drained  ///< The pool was closed, and all connections are back.
    };
    Kind kind = Kind::none;
    Waiter* waiter = nullptr;
    ConnectionNode* connection = nullptr;
    std::uint64_t generation = 0;  ///< Of the connection to be opened.
};

}  // namespace txscope::detail
