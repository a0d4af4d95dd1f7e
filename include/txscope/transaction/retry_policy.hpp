#pragma once

#include <chrono>

namespace txscope {

/// Whether and how a scope runs its body again after a failure that a second try may not meet.
///
/// Tried again are: a serialization failure (40001), a deadlock (40P01), a prepared statement that was
/// stale, a connection that was lost before `COMMIT` was sent, one that could not be opened for a
/// reason that may pass (`ConnectionFailed::is_transient`), as while a standby is being promoted, and
/// one whose server does not write. A statement is stale when a change of the schema gave its parameters
/// or columns other types, or when somebody dropped it, such as a pooler that does not keep prepared
/// statements: nothing prepared before is used after that. A server does not write, and connections are
/// opened anew, when it says so (25006; to `BEGIN` a standby says 0A000) to a scope that is not
/// `AccessMode::read_only`.
///
/// The whole body runs again, in a new transaction; only the outermost scope does that. What the body
/// changed outside the database it changes again.
///
/// Before the n-th retry the scope waits a random time between 0 and
/// min(`max_backoff`, `initial_backoff` · 2ⁿ⁻¹) ("full jitter"), so that those who collided do not
/// collide again. Neither may be negative.
struct RetryPolicy {
    /// Most times the body runs, at least 1.
    int max_attempts = 1;
    std::chrono::milliseconds initial_backoff{10};
    std::chrono::milliseconds max_backoff{1000};
};

}  // namespace txscope
