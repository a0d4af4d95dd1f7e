#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>

namespace support {

/// What a history shows that no serializable database does. G0 to G2 are the phenomena of Adya,
/// "Weak Consistency: A Generalized Theory and Optimistic Implementations", 1999.
enum class Phenomenon {
    duplicate,           ///< One value twice: in a list, or written.
    unknown_value,       ///< A value was read that nobody wrote.
    own_write_missed,    ///< A transaction read without its own writes, or not in their order.
    incompatible_order,  ///< Two readings of a list, of which neither begins with the other.
    g0,                  ///< A cycle of writes: two transactions overwrote each other.
    g1a,                 ///< A value was read whose transaction was aborted.
    g1b,                 ///< A list was read that its writer went on to change.
    g1c,                 ///< A cycle of writes and reads of them: information flowed in a circle.
    g2,                  ///< A cycle with anti-dependencies: each saw a state from before another.
};

inline std::ostream& operator<<(std::ostream& out, Phenomenon phenomenon) {
    constexpr std::string_view names[] = {"duplicate",
                                          "unknown value",
                                          "own write missed",
                                          "incompatible order",
                                          "G0",
                                          "G1a",
                                          "G1b",
                                          "G1c",
                                          "G2"};
    return out << names[static_cast<std::size_t>(phenomenon)];
}

struct Anomaly {
    Phenomenon phenomenon;
    std::string description;  ///< Transactions are numbered from 0, as the history has them.
};

inline std::ostream& operator<<(std::ostream& out, const Anomaly& anomaly) {
    return out << anomaly.phenomenon << ": " << anomaly.description;
}

}  // namespace support
