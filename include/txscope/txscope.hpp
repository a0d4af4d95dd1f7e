#pragma once

/// Everything of txscope, layer by layer: each stands on those above it alone, so that an error in
/// one does not seem to come from another.
///
/// Three layers stay outside: `txscope/values/`, whose headers include other libraries, each for types of
/// its own; `txscope/observing/`, whose observers most programs write themselves; and `txscope/testing/`,
/// which starts servers and belongs into test suites.

#include <txscope/core/config.hpp>
#include <txscope/version.hpp>

// What knows no I/O.
#include <txscope/core/connection_holder.hpp>
#include <txscope/core/decimal.hpp>
#include <txscope/core/error.hpp>
#include <txscope/core/interval.hpp>
#include <txscope/core/range.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/core/value.hpp>

// What is sent over a connection,
#include <txscope/postgres/statement.hpp>

// and what comes back.
#include <txscope/postgres/result.hpp>
#include <txscope/postgres/row_mapping.hpp>
#include <txscope/postgres/server_name.hpp>
#include <txscope/postgres/sql.hpp>

// Where a connection leads.
#include <txscope/postgres/conninfo.hpp>

// Who lends connections.
#include <txscope/session/all.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/session/connection_hooks.hpp>
#include <txscope/session/notification.hpp>
#include <txscope/session/observer.hpp>
#include <txscope/session/pool_options.hpp>
#include <txscope/session/replicas.hpp>
#include <txscope/session/session.hpp>

// What begins, ends, nests and retries.
#include <txscope/transaction/ambient.hpp>
#include <txscope/transaction/retry_policy.hpp>
#include <txscope/transaction/stream.hpp>
#include <txscope/transaction/transaction.hpp>
#include <txscope/transaction/transaction_options.hpp>
#include <txscope/transaction/transaction_scope.hpp>

// What finds and reads the rows of a table.
#include <txscope/repository/arithmetic.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/entity.hpp>
#include <txscope/repository/json_text.hpp>
#include <txscope/repository/orderings.hpp>
#include <txscope/repository/raw_sql.hpp>
#include <txscope/repository/read_repository.hpp>
#include <txscope/repository/row_comparison.hpp>
#include <txscope/repository/row_lock.hpp>
#include <txscope/repository/with_deleted.hpp>

// What a program's data layer derives from.
#include <txscope/repository/base_repository.hpp>
#include <txscope/repository/changes.hpp>
#include <txscope/repository/read_scope.hpp>
#include <txscope/repository/service_coordinator.hpp>
