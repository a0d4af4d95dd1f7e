#pragma once

#include <array>
#include <string_view>

namespace txscope {

/// What a `FaultSweep` does to a scope that is suspended.
enum class Fault {
    cancel,   ///< Its caller cancels it.
    destroy,  ///< Its `io_context` is destroyed, and with it the frames of its coroutines.
    abandon,  ///< The same, but its pool is one of another `io_context`, and lives on.
    cut,      ///< Its connections are reset; what was under way between it and the server is lost.
    terminate,  ///< Its server processes are ended (`pg_terminate_backend`).
};

inline constexpr std::array all_faults{Fault::cancel, Fault::destroy, Fault::abandon, Fault::cut,
                                       Fault::terminate};

constexpr std::string_view to_string(Fault fault) noexcept {
    switch (fault) {
        case Fault::cancel:
            return "cancel";
        case Fault::destroy:
            return "destroy";
        case Fault::abandon:
            return "abandon";
        case Fault::cut:
            return "cut";
        case Fault::terminate:
            return "terminate";
    }
    return "";
}

}  // namespace txscope
