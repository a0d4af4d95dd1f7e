#pragma once

#include <cstddef>

namespace txscope::detail {

/// The longest name that PostgreSQL keeps whole, in bytes: its NAMEDATALEN less one. It cuts a longer
/// one with no more than a notice, and then answers under the shorter. A server may have been built
/// with another NAMEDATALEN; the names in our SQL are short enough for all that have at least this.
inline constexpr std::size_t max_name_length = 63;

}  // namespace txscope::detail
