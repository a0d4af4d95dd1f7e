#pragma once

#include <cstddef>
#include <optional>
#include <source_location>
#include <vector>

namespace txscope::detail {

/// A scope as its pool knows it: whether it holds a connection, and who within it waits for
/// another.
///
/// Scopes end inside out, so a scope within which somebody waits cannot give its connection back
/// before that wait ends.
struct Borrower {
    /// Where the scope was opened; line 0 for a statement without a scope.
    const std::source_location where;

    // Guarded by the pool.
    bool holds = false;
    std::size_t waits = 0;

    bool blocked() const noexcept { return holds && waits > 0; }
};

/// Who asks a pool for a connection, and within which scopes.
struct Demand {
    Demand() = default;
    explicit Demand(Borrower& asking) : borrower{&asking} {}

    Borrower* borrower = nullptr;
    std::vector<Borrower*> around{};  // must live until the demand is answered

    /// Where the scope was opened that asks, if one does.
    std::optional<std::source_location> scope() const {
        if (borrower == nullptr || borrower->where.line() == 0) return std::nullopt;
        return borrower->where;
    }
};

}  // namespace txscope::detail
