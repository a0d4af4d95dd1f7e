#pragma once

#include <cstddef>
#include <optional>
#include <source_location>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

class PoolMachine;

/// Who holds a connection of a pool, or is going to: one at a time. Others may ask the pool for
/// further ones from within it, and it gives its own back only after those waits have ended.
class Holder {
public:
    /// @param where what it is called by; line 0: it is no scope
    /// @param label outlives it
    explicit Holder(const std::source_location& where, std::string_view label = {}) noexcept
        : where_{where}, label_{label} {}
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;

    std::optional<std::source_location> where() const {
        return where_.line() == 0 ? std::nullopt : std::optional{where_};
    }
    std::string_view label() const noexcept { return label_; }

private:
    friend PoolMachine;
    /// Its connection does not come back by itself.
    bool blocked() const noexcept { return holds_ && waits_within_ > 0; }

    const std::source_location where_;
    const std::string_view label_;
    // The pool's, under its mutex:
    bool holds_ = false;
    std::size_t waits_within_ = 0;
};

/// Who asks a pool for a connection.
struct Requester {
    Requester() = default;
    explicit Requester(Holder& asking, std::vector<Holder*> around = {})
        : holder{&asking}, within{std::move(around)} {}

    Holder* holder = nullptr;       ///< Who is going to hold it; null: nobody accounts for that.
    std::vector<Holder*> within{};  ///< Whom the wait keeps from its end. They outlive the wait.
};

}  // namespace txscope::detail
