#pragma once

#include <txscope/postgres/connection.hpp>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

namespace txscope::detail {

/// What was written behind in a session: it goes ahead of its next statement, in the same round trip.
class WriteBehindQueue {
public:
    /// @param connection over which it will go, if that is known: for memory that it has
    void push(Statement&& statement, Connection* connection) {
        if (queue_.capacity() == 0 && connection != nullptr)
            queue_ = connection->take_spare_batch();
        queue_.emplace_back(std::move(statement), nullptr);
    }
    /// Puts the release of a savepoint ahead of all that is queued. It is not sent for its own sake:
    /// whatever ends the session releases the savepoints within, too.
    void release(std::string command) { release_ = std::move(command); }
    bool has_queued() const noexcept { return !queue_.empty(); }
    bool empty() const noexcept { return release_.empty() && !has_queued(); }

    void move_to(Connection::Batch& batch, const Connection::SharedResponse& response,
                 Connection& connection) {
        if (empty()) return;
        for (Request& queued : queue_) queued.response = response;
        if (batch.empty() && release_.empty()) {
            batch.swap(queue_);
        } else {
            batch.reserve(batch.size() + queue_.size() + 2);
            if (!release_.empty())
                batch.emplace_back(Command{std::exchange(release_, {})}, response);
            std::move(queue_.begin(), queue_.end(), std::back_inserter(batch));
            queue_.clear();
        }
        connection.keep_batch(std::move(queue_));
    }
    void clear() noexcept {
        release_.clear();
        queue_.clear();
    }

private:
    std::string release_;  // RELEASE SAVEPOINT, or empty
    Connection::Batch queue_;
};

}  // namespace txscope::detail
