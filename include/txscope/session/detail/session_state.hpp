#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/fifo_mutex.hpp>
#include <txscope/session/detail/ambient.hpp>
#include <txscope/session/detail/hooks.hpp>
#include <txscope/session/detail/scope_node.hpp>
#include <txscope/session/detail/shared_connection.hpp>
#include <txscope/session/detail/statement_report.hpp>
#include <txscope/session/detail/write_behind_queue.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <string_view>
#include <utility>
#include <vector>

namespace txscope::detail {

inline Answer answer_of(const Response& response) noexcept {
    using Outcome = Response::Outcome;
    switch (response.outcome()) {
        case Outcome::succeeded:
            return Answer::executed;
        case Outcome::skipped:
            return Answer::skipped;
        case Outcome::unsent:
            return Answer::unsent;
        case Outcome::lost:
            return Answer::lost;
        default:
            return Answer::failed;
    }
}

/// One session: the statements of one scope, in their order.
///
/// A nested session uses its parent's connection, and keeps the parent's other branches waiting
/// meanwhile. All of it runs on one strand, and it is itself what is ambient there for its body.
class SessionState : public ScopeNode, public Ambient {
public:
    /// An outermost one, which is to derive from the connection as well: both live as long.
    /// @param surroundings what is ambient where its scope is opened
    SessionState(SharedConnection& over, Ambient::Shared surroundings, std::source_location where)
        : ScopeNode{nullptr, where},
          Ambient{over.strand, over.pool.get(), &over.holder, this, std::move(surroundings)},
          shared_{over} {}
    /// One nested in `within`, which `surroundings` keep alive.
    SessionState(SessionState& within, Ambient::Shared surroundings, std::source_location where)
        : ScopeNode{&within, where},
          Ambient{within.on, within.pool, within.holder, this, std::move(surroundings)},
          shared_{within.shared_},
          parent_{&within} {}

    /// Sends `statement`, if any, with all that is queued, and awaits its result. At `deadline` it is
    /// cancelled.
    /// @param special outlives that; null where it asks for nothing else
    TXSCOPE_LAZY static asio::awaitable<Result> execute(
        SharedSession self, std::optional<Statement> statement,
        Clock::time_point deadline = Clock::time_point::max(), SpecialExecution* special = nullptr);
    /// Queues it, to go with whatever is awaited next.
    void enqueue(Statement&& statement);
    /// Sends what is queued and awaits it.
    TXSCOPE_LAZY static asio::awaitable<void> flush(SharedSession self);

    /// The session that is meant by a call that is not awaited.
    /// @throws ScopeEnded, pqxx::usage_error when it is called from outside of the session's body
    SessionState& here();

    /// Ends it after its body, which nothing may interrupt. What it returns is not valid if there is
    /// nothing to await.
    /// @param error what the body ended with, or null; then what the scope ends with
    virtual asio::awaitable<void> end(std::exception_ptr& error) = 0;

    /// @throws why statements are refused, if they are
    void check_open() const {
        if (const auto refusal = machine().refusal(*this)) refuse_by(refusal);
    }
    /// @throws ScopeEnded when this scope or one around is over
    void check_not_ended() const {
        if (const ScopeNode* over = ended()) throw_ended(*over);
    }

    /// Lets go of all that was not sent; those who await it get the refusal.
    void discard_unsent();
    bool has_queued() const noexcept { return unsent_.has_queued(); }
    /// Whether statements or scopes within are still under way.
    bool busy() const noexcept { return outstanding_ > 0 || joined_ > 0 || !nesting_.free(); }
    /// Whether a scope that has joined this session's is open; and one is, for as long as that lasts.
    bool joined() const noexcept { return joined_ > 0; }
    std::size_t& joined_scopes() noexcept { return joined_; }
    /// Where nested sessions take turns.
    FifoMutex& nesting() noexcept { return nesting_; }
    void release(std::string command) { unsent_.release(std::move(command)); }

    /// Null where there are none.
    Hooks* hooks() const noexcept { return hooks_.get(); }
    Hooks& make_hooks() {
        if (!hooks_) hooks_ = std::make_unique<Hooks>();
        return *hooks_;
    }
    /// Those that wait for the outcome that the transaction has had; null where there are none.
    std::vector<Hook>* outcome_hooks() const noexcept {
        if (!hooks_) return nullptr;
        const bool committed = machine().phase() == TransactionMachine::Phase::committed;
        return committed ? &hooks_->after_commit : &hooks_->after_rollback;
    }
    /// The scope is left, in whatever way: it is over, and drops its hooks. One that holds its own
    /// session would keep that for ever.
    void leave() {
        ScopeNode::end();
        // Taken out first: what a hook holds may look at the lists when it goes.
        const auto gone = std::move(hooks_);
    }
    SharedConnection& shared() const noexcept { return shared_; }
    TransactionMachine& machine() const noexcept { return shared_.machine; }
    /// Null for an outermost one.
    SessionState* parent() const noexcept { return parent_; }

    /// The last statements of a session, which end it.
    struct LastSent {
        Connection::SharedResponse queued{};  ///< What went ahead of the last one, or null.
        Connection::SharedResponse last{};
        StatementReport report{};
    };

protected:
    /// @param executor the caller's, which outlives it
    TXSCOPE_LAZY asio::awaitable<void> take_connection(const asio::any_io_executor& executor);
    /// Puts what is queued into the outbox, and then `last`, unless that is empty; not refused.
    LastSent put_out_last(std::string_view last);

private:
    /// Adds the statements that open it, for a response of their own or for that of the statement they
    /// go with.
    virtual void add_opening(Connection::Batch&, const Connection::SharedResponse&) {}

    // What these are given outlives them.
    TXSCOPE_LAZY static asio::awaitable<Result> execute_apart(const SharedSession& self,
                                                              std::optional<Statement>& statement,
                                                              Clock::time_point deadline,
                                                              SpecialExecution* special);
    TXSCOPE_LAZY static asio::awaitable<void> execute_into(Result& result,
                                                           const SharedSession& self,
                                                           std::optional<Statement>& statement,
                                                           SpecialExecution* special);
    TXSCOPE_LAZY static asio::awaitable<Result> execute_again(const SharedSession& self,
                                                              const Response& failed,
                                                              SpecialExecution* special);
    bool may_ask_again(const Response& response) const noexcept;
    SessionState& innermost(const Ambient* ambient);
    void check_allowed(const Statement& statement) const {
        if (!is_query(statement.sql())) check_kind(statement.sql());
    }
    void check_allowed(const std::vector<Statement>& statements) const {
        for (const Statement& each : statements) check_allowed(each);
    }
    void check_kind(std::string_view sql) const;
    void check_scope() const {
        if (const auto failure = TransactionMachine::scope_failure(*this)) refuse_by(failure);
    }
    void got_no_connection(const std::exception_ptr& error);
    [[noreturn]] static void throw_ended(const ScopeNode& over);
    [[noreturn]] void refuse_by(const TransactionMachine::Refusal& refusal) const;
    Connection::SharedResponse make_response() const {
        return shared_.lease->make_response(where());
    }
    Connection::SharedResponse put_out(std::optional<Statement>& statement,
                                       SpecialExecution* special);
    void move_unsent(Connection::Batch& batch, const Connection::SharedResponse& response);
    [[noreturn]] void throw_failure(const Response& response, bool cancelled);

    SharedConnection& shared_;
    SessionState* const parent_ = nullptr;
    bool opened_ = false;  // what opens it has been sent
    WriteBehindQueue unsent_;
    std::unique_ptr<Hooks> hooks_;  // mostly there are none
    FifoMutex nesting_;
    std::size_t outstanding_ = 0;
    std::size_t joined_ = 0;
};

/// A session of a `Kind`, which ends as that concludes. A template: a virtual function of another class is
/// compiled wherever that is included, and so is all that it calls.
template <typename Kind>
class SessionOf final : public Kind {
public:
    using Kind::Kind;
    asio::awaitable<void> end(std::exception_ptr& error) override { return Kind::conclude(error); }
};

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/postgres/detail/statement_kind.hpp>

#include <pqxx/except>

#include <string>

namespace txscope::detail {

TXSCOPE_INLINE void intrusive_ptr_add_ref(const SessionState* session) noexcept {
    intrusive_ptr_add_ref(static_cast<const AmbientContext*>(session));
}

TXSCOPE_INLINE void intrusive_ptr_release(const SessionState* session) noexcept {
    intrusive_ptr_release(static_cast<const AmbientContext*>(session));
}

/// A session handed down into a scope nested in it means that scope's session there.
TXSCOPE_INLINE SessionState& SessionState::innermost(const Ambient* ambient) {
    SessionState* const here = find_session(ambient, pool);
    return here != nullptr && here->is_within(*this) ? *here : *this;
}

TXSCOPE_INLINE SessionState& SessionState::here() {
    // The strand may be that of others, too: a whole context for one thread is one.
    const Ambient* const ambient = running_ambient();
    for (const Ambient* around = ambient; around != nullptr; around = around->outer.get())
        if (around->session != nullptr && &around->session->shared_ == &shared_)
            return innermost(ambient);
    // Hooks that are told of the outcome run where the session is set aside.
    const Ambient* const set_aside = find_ambient(ambient, pool);
    if (set_aside != nullptr && set_aside->session == nullptr && hooks_ && hooks_->telling)
        return *this;
    check_not_ended();
    throw pqxx::usage_error{
        "a session is used from outside the body of its scope by a call that is not awaited"};
}

TXSCOPE_INLINE void SessionState::enqueue(Statement&& statement) {
    SessionState& inner = here();
    inner.check_allowed(statement);
    inner.check_open();
    const Lease& lease = shared_.lease;
    inner.unsent_.push(std::move(statement), lease ? &*lease : nullptr);
}

TXSCOPE_INLINE void SessionState::check_kind(std::string_view sql) const {
    const StatementKind kind = statement_kind(sql);
    const auto refuse = [&](const char* why) { throw pqxx::usage_error{why + std::string{sql}}; };
    if (!shared_.own_transactions && kind.transaction_control)
        refuse("the scope says what is a transaction, not a statement: ");
    if (shared_.read_only && kind.makes_read_write)
        refuse("the scope says that its transaction is read-only: ");
    if (kind.client_copy) refuse("COPY from and to the client cannot be executed: ");
    if (kind.listen) refuse("LISTEN is for AsyncSessionFactory::listen to execute: ");
}

TXSCOPE_INLINE void SessionState::throw_ended(const ScopeNode& over) {
    throw ScopeEnded{"the scope of this session has ended", over.where()};
}

TXSCOPE_INLINE void SessionState::refuse_by(const TransactionMachine::Refusal& refusal) const {
    using Why = TransactionMachine::Refusal::Why;
    if (refusal.why == Why::scope_ended) throw_ended(*refusal.scope);
    if (refusal.why == Why::scope_failed)
        std::rethrow_exception(nest(
            refusal.cause, TransactionAborted{"a joined scope or a statement failed before, so the "
                                              "transaction can only be rolled back",
                                              refusal.scope->where()}));
    std::rethrow_exception(nest(
        refusal.cause,
        TransactionAborted{"a statement failed before, so the transaction can only be rolled back",
                           shared_.holder.where()}));
}

TXSCOPE_INLINE void SessionState::discard_unsent() {
    opened_ = true;
    unsent_.clear();
    // What is on its way out may belong to the sessions around, their BEGIN for one: a nested
    // session's part of it is sent, and undone with the rest.
    if (parent_ != nullptr) return shared_.send_outbox();
    shared_.refuse_outbox(std::make_exception_ptr(
        ScopeEnded{"the scope of this session ended before the statement was sent", where()}));
}

}  // namespace txscope::detail

#include <txscope/session/detail/execution.hpp>

#endif
