#pragma once

#include <txscope/core/error.hpp>
#include <txscope/session/detail/session_state.hpp>
#include <txscope/transaction/detail/settings.hpp>
#include <txscope/transaction/detail/transaction.hpp>
#include <txscope/transaction/transaction_options.hpp>

#include <pqxx/except>

#include <algorithm>
#include <chrono>
#include <source_location>
#include <string>

namespace txscope::detail {

/// @throws PropagationError when a scope with `options` cannot be part of the transaction of
/// `outer`
inline void check_fits(const TransactionOptions& options, const SessionState& outer,
                       std::source_location where) {
    const TransactionOptions& begun = transaction_of(outer).options;
    if (options.isolation != IsolationLevel::server_default && options.isolation != begun.isolation)
        throw PropagationError{
            "a scope inside a transaction cannot have another isolation level than it", where};
    if (options.access == AccessMode::read_write && begun.access == AccessMode::read_only)
        throw PropagationError{"a read-write scope cannot be part of a read-only transaction",
                               where};
    for (const TransactionSetting& setting : options.settings) {
        const auto is_the_same = [&](const TransactionSetting& other) {
            return setting.name == other.name && setting.value == other.value;
        };
        if (std::none_of(begun.settings.begin(), begun.settings.end(), is_the_same))
            throw PropagationError{
                "a scope inside a transaction cannot have a setting that this was not "
                "begun with: " +
                    std::string{setting.name} + " (Propagation::requires_new begins another)",
                where};
    }
}

/// What a scope does about the session around it.
enum class Entry {
    begin,  ///< A transaction of its own.
    join,   ///< Be part of it.
    nest,   ///< A savepoint inside it.
    plain,  ///< A session of its own, without a transaction.
};

inline bool in_transaction(const SessionState* outer) {
    return outer != nullptr && outer->machine().is_transaction();
}

/// @throws pqxx::argument_error for a time below zero, or beyond what the server takes, no attempt at
/// all, a value that an enumeration does not have, a replica for what it cannot do, and what is no name
/// of a setting; ValueError for a setting's value that cannot be sent
inline void check_valid(const TransactionOptions& options) {
    const auto is_among = [](auto value, auto first, auto last) {
        return value >= first && value <= last;
    };
    if (std::min({options.statement_timeout, options.lock_timeout, options.timeout,
                  options.verify_timeout, options.retry.initial_backoff, options.retry.max_backoff})
            .count() < 0)
        throw pqxx::argument_error{"TransactionOptions: a time must not be negative"};
    for (const auto time : {options.statement_timeout, options.lock_timeout})
        if (time > longest_on_server && time != std::chrono::milliseconds::max())
            throw pqxx::argument_error{
                "TransactionOptions: the server takes at most 2147483647 ms (24 days) for "
                "statement_timeout and lock_timeout; milliseconds::max() is no limit"};
    if (options.retry.max_attempts < 1)
        throw pqxx::argument_error{"RetryPolicy::max_attempts must be at least 1"};
    if (!is_among(options.isolation, IsolationLevel::server_default,
                  IsolationLevel::serializable) ||
        !is_among(options.access, AccessMode::server_default, AccessMode::read_only) ||
        !is_among(options.route, Route::primary, Route::prefer_replica))
        throw pqxx::argument_error{"TransactionOptions: an enumeration has no such value"};
    if (options.route == Route::prefer_replica &&
        (options.access != AccessMode::read_only ||
         options.isolation == IsolationLevel::serializable))
        throw pqxx::argument_error{
            "TransactionOptions: a scope that prefers a replica has to be read-only, and cannot be "
            "serializable"};
    for (const TransactionSetting& setting : options.settings) setting_statement(setting);
}

/// What `options` ask of a scope within the session `outer`, null for none.
/// @throws PropagationError, ScopeEnded, pqxx::argument_error
inline Entry entry_of(const TransactionOptions& options, const SessionState* outer,
                      std::source_location where) {
    check_valid(options);
    const bool inside = in_transaction(outer);
    const auto inner = [&](Entry entry) {
        outer->check_not_ended();
        check_fits(options, *outer, where);
        return entry;
    };
    const auto without_transaction = [&] {
        if (!options.settings.empty())
            throw PropagationError{"a scope without a transaction cannot have settings", where};
        return outer != nullptr && !inside ? Entry::join : Entry::plain;
    };
    switch (options.propagation) {
        case Propagation::required:
            return inside ? inner(Entry::join) : Entry::begin;
        case Propagation::requires_new:
            return Entry::begin;
        case Propagation::nested:
            return inside ? inner(Entry::nest) : Entry::begin;
        case Propagation::mandatory:
            if (inside) return inner(Entry::join);
            throw PropagationError{"a mandatory scope was opened outside a transaction", where};
        case Propagation::supports:
            return inside ? inner(Entry::join) : without_transaction();
        case Propagation::not_supported:
            return without_transaction();
        case Propagation::never:
            if (!inside) return without_transaction();
            outer->check_not_ended();
            throw PropagationError{"a never scope was opened inside a transaction", where};
    }
    throw pqxx::argument_error{"TransactionOptions: an enumeration has no such value"};
}

}  // namespace txscope::detail
