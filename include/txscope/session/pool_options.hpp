#pragma once

#include <txscope/pool/pool_statistics.hpp>

#include <chrono>
#include <cstddef>

namespace txscope {

class ConnectionHooks;
class Observer;

/// How an `AsyncSessionFactory` keeps its connections.
struct PoolOptions {
    /// Most connections open at a time, at least 1; default 8. Opened when first needed, but for
    /// `min_idle`.
    std::size_t max_size = 8;
    /// Most coroutines waiting for a connection, from 0; default 100,000. One more gets `PoolExhausted`.
    std::size_t max_waiters = 100'000;
    /// Most connections being opened at a time, at least 1; default 4. A server that refuses is asked
    /// by one at a time, about once a second, until it takes one.
    std::size_t max_opening = 4;
    /// Longest wait for a connection, before `AcquireTimeout`; default 30 s. It includes the opening of
    /// one, which goes on for others when its time is over.
    std::chrono::milliseconds acquire_timeout = std::chrono::seconds{30};
    /// Longest wait that who asks for a connection may have to expect, from how long loans last and the
    /// pace at which those ahead are served; who would have to wait longer gets `PoolExhausted` at once. So under overload some are
    /// served in time, where else all would wait until `acquire_timeout`. From 0, the default: no limit.
    std::chrono::milliseconds queue_target{0};
    /// Longest time to open one connection, on all servers of the connection string together; default
    /// 30 s, 0 for no limit. Each address gets an equal share of it, unless `connect_timeout` in the
    /// connection string says how much.
    std::chrono::milliseconds opening_timeout = std::chrono::seconds{30};
    /// How long a connection is used, from 0: when that is over it is closed as soon as nobody has it;
    /// default 30 min, by chance up to a tenth more or less, 0 for ever. So changes of a server's
    /// memory, of DNS or behind a load balancer reach every connection.
    std::chrono::milliseconds max_lifetime = std::chrono::minutes{30};
    /// How long a connection may be idle, from 0, until it is closed, unless it is one of `min_idle`;
    /// default 10 min, 0 for ever.
    std::chrono::milliseconds idle_timeout = std::chrono::minutes{10};
    /// Connections that are to be idle, opened before somebody asks for them as far as `max_size`
    /// allows; from 0, the default, to `max_size`.
    std::size_t min_idle = 0;
    /// A connection over TCP that has been idle this long is lent only after the server has answered,
    /// which costs a round trip; default 1 s, 0 never. That a server has closed it the socket tells
    /// without one, a Unix socket everything.
    std::chrono::milliseconds ping_after_idle = std::chrono::seconds{1};
    /// Longest wait for that answer, from 0; default 2 s. Then the connection is closed, and those that
    /// have been idle longer with it.
    std::chrono::milliseconds ping_timeout = std::chrono::seconds{2};
    /// Longest time to cancel what runs, to roll back and to reset a connection that comes back in
    /// use, from 0; default 5 s. A server that takes longer has its connection closed.
    std::chrono::milliseconds cleanup_timeout = std::chrono::seconds{5};
    /// Prepared statements kept on each connection, the least recently used going first. 0 prepares
    /// none: for PgBouncer before 1.21 in transaction pooling, which loses them. The factory finds
    /// that out by itself, at the cost of some failures that are tried again
    /// (`ScopeEvent::statements_unnamed`).
    std::size_t statement_cache_size = 256;
    /// How long a prepared statement is used until it is prepared anew. When somebody alters a
    /// column's type, a statement goes on with its parameters' old types that long: a value may be
    /// rounded to the old one, or read as a time of another zone. See `AsyncSessionFactory::forget_statements`.
    std::chrono::milliseconds statement_lifetime = std::chrono::minutes{1};
    /// Whether statements go out before those ahead of them are answered: what was written behind, what
    /// parallel branches ask for, and BEGIN with the first statement. Off, each statement is a round trip
    /// of its own, and without a transaction what was written behind goes in one with what it goes ahead
    /// of; nothing else changes. For poolers that cannot pipeline.
    bool pipelining = true;
    /// Is told what happens in scopes; null for none. Must outlive them and the factory.
    Observer* observer = nullptr;
    /// What is called around the opening of connections, and, if it is a `LoanHooks`, around loans; null
    /// for nothing. Must outlive the factory and what it has begun.
    ConnectionHooks* hooks = nullptr;
    /// Longest time for a transaction whose `TransactionOptions::timeout` is 0, and for a statement
    /// that is executed outside of any scope, which throws `StatementTimeout` after it; from 0, the
    /// default, which is no limit. A `session_scope` has none.
    std::chrono::milliseconds default_timeout{0};
    /// A transaction's scope that runs longer than this is reported to the observer. 0: none is.
    std::chrono::milliseconds overlong_scope{0};
};

}  // namespace txscope
