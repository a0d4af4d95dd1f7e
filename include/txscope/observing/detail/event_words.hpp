#pragma once

#include <txscope/core/error.hpp>
#include <txscope/session/observer.hpp>

#include <pqxx/except>

#include <exception>
#include <string>
#include <string_view>

/// How observers say what happened.
namespace txscope::detail {

inline std::string text_of(const std::exception_ptr& error,
                           std::string_view unknown = "an exception of unknown type") {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& known) {
        return known.what();
    } catch (...) {
        return std::string{unknown};
    }
}

/// By which transactions are counted, and told apart; empty for what is no outcome.
constexpr std::string_view outcome_name(ScopeEvent::Kind kind) noexcept {
    switch (kind) {
        case ScopeEvent::commit:
            return "commit";
        case ScopeEvent::rollback:
            return "rollback";
        case ScopeEvent::in_doubt:
            return "in_doubt";
        case ScopeEvent::leaked:
            return "leaked";
        default:
            return {};
    }
}

/// The code that a server gave for `error`, or for what is nested inside it; empty where none spoke.
inline std::string sqlstate_of(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& failure) {
        const SqlDiagnostics* said = find_diagnostics(failure);
        if (said != nullptr && !said->sqlstate.empty()) return said->sqlstate;
        const auto* refused = dynamic_cast<const ConnectionFailed*>(&failure);
        if (refused != nullptr && !refused->sqlstate().empty()) return refused->sqlstate();
        const auto* around = dynamic_cast<const std::nested_exception*>(&failure);
        const auto nested = around != nullptr ? around->nested_ptr() : nullptr;
        return nested ? sqlstate_of(nested) : std::string{};
    } catch (...) {
        return {};
    }
}

/// Whether it is that a connection was lost, or none could be had, or something because of that.
inline bool is_broken_connection(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const pqxx::broken_connection&) {
        return true;
    } catch (const std::nested_exception& failure) {
        return failure.nested_ptr() && is_broken_connection(failure.nested_ptr());
    } catch (...) {
        return false;
    }
}

}  // namespace txscope::detail
