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
#include <boost/smart_ptr/intrusive_ptr.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <string_view>
#include <utility>

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
    using Shared = boost::intrusive_ptr<SessionState>;

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
    static asio::awaitable<Result> execute(Shared self, std::optional<Statement> statement,
                                           Clock::time_point deadline = Clock::time_point::max(),
                                           SpecialExecution* special = nullptr);
    /// Queues it, to go with whatever is awaited next.
    void enqueue(Statement&& statement);
    /// Sends what is queued and awaits it.
    static asio::awaitable<void> flush(Shared self);

    /// The session that is meant by a call that is not awaited.
    /// @throws ScopeEnded, pqxx::usage_error when it is called from outside of the session's body
    SessionState& here();

    /// Ends it after its body, which nothing may interrupt. What it returns is not valid if there is
    /// nothing to await.
    /// Who overrides it declares it inline: Clang compiles what else would place a virtual table,
    /// and all that it calls, in every file that includes it.
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
    asio::awaitable<void> take_connection(const asio::any_io_executor& executor);
    /// Puts what is queued into the outbox, and then `last`, unless that is empty; not refused.
    LastSent put_out_last(std::string_view last);

private:
    /// Adds the statements that open it, for a response of their own or for that of the statement they
    /// go with.
    virtual void add_opening(Connection::Batch&, const Connection::SharedResponse&) {}

    // What these are given outlives them.
    static asio::awaitable<Result> execute_apart(const Shared& self,
                                                 std::optional<Statement>& statement,
                                                 Clock::time_point deadline,
                                                 SpecialExecution* special);
    static asio::awaitable<void> execute_into(Result& result, const Shared& self,
                                              std::optional<Statement>& statement,
                                              SpecialExecution* special);
    static asio::awaitable<Result> execute_again(const Shared& self, const Response& failed,
                                                 SpecialExecution* special);
    bool may_ask_again(const Response& response) const noexcept;
    SessionState& innermost(const Ambient* ambient);
    void check_allowed(const Statement& statement) const {
        if (!is_query(statement.sql())) check_kind(statement.sql());
    }
    void check_kind(std::string_view sql) const;
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

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <txscope/core/error.hpp>
#include <txscope/net/cancellation.hpp>
#include <txscope/net/forwarded_cancellation.hpp>
#include <txscope/postgres/detail/statement_kind.hpp>
#include <txscope/session/detail/round_trip.hpp>

#include <boost/asio/this_coro.hpp>
#include <pqxx/except>

#include <string>

namespace txscope::detail {

/// A session handed down into a scope nested in it means that scope's session there.
TXSCOPE_INLINE SessionState& SessionState::innermost(const Ambient* ambient) {
    SessionState* const here = find_session(ambient, pool);
    return here != nullptr && here->is_within(*this) ? *here : *this;
}

TXSCOPE_INLINE asio::awaitable<Result> SessionState::execute(Shared self,
                                                             std::optional<Statement> statement,
                                                             Clock::time_point deadline,
                                                             SpecialExecution* special) {
    const auto executor = co_await asio::this_coro::executor;
    SharedConnection& shared = self->shared_;
    // Whether the strand is running here says nothing: a coroutine of another strand may have been
    // started from within it, and goes on elsewhere.
    const auto* carrier = executor.target<AmbientExecutor>();
    if (carrier == nullptr || carrier->strand() != shared.strand ||
        deadline != Clock::time_point::max()) {
        self->check_not_ended();
        co_return co_await execute_apart(self, statement, deadline, special);
    }
    self = &self->innermost(ambient_of(executor));
    if (statement) self->check_allowed(*statement);
    if (special != nullptr)
        for (const Statement& each : special->ahead) self->check_allowed(each);
    const Counted work{self->outstanding_};  // the scope must not end meanwhile
    if (!self->nesting_.free()) co_await self->nesting_.pass();
    self->check_open();
    if (!statement && !self->has_queued()) co_return Result{};
    if (!shared.has_connection()) {
        co_await self->take_connection(executor);
        self->check_open();  // it may have ended meanwhile
    }
    // What is in the outbox will be sent: nothing of a caller who was cancelled meanwhile.
    const asio::cancellation_state caller = co_await asio::this_coro::cancellation_state;
    check_not_cancelled(caller);

    Connection::SharedResponse response;
    bool cancelled = false;
    {
        StatementReport report{shared, *self, statement ? statement->sql() : "", special};
        response = self->put_out(statement, special);
        report.answered_in(response);

        RoundTrip trip{
            .on = carrier->context(), .shared = shared, .response = *response, .caller = caller};
        co_await round_trip(trip);
        if (!shared.is_answered(response)) {
            // What was sent is seen to its end, also for a caller who was cancelled before it went
            // out.
            const bool throws = co_await asio::this_coro::throw_if_cancelled();
            co_await asio::this_coro::throw_if_cancelled(false);
            cancelled = co_await shared.see_through(response);
            report.answered_in(response);
            co_await asio::this_coro::throw_if_cancelled(throws);
        }
    }
    shared.note_write();
    if (response->error && !cancelled && self->may_ask_again(*response))
        co_return co_await execute_again(self, *response, special);
    if (response->error) self->throw_failure(*response, cancelled);
    self->machine().answered(Answer::executed, nullptr);
    if (response->keeps_all()) special->results = response->take_all();
    co_return std::move(response->result);
}

TXSCOPE_INLINE asio::awaitable<void> SessionState::flush(Shared self) {
    co_await execute(std::move(self), {});
}

/// Whether it was one statement without a transaction, which failed and may be stale.
TXSCOPE_INLINE bool SessionState::may_ask_again(const Response& response) const noexcept {
    const Lease& lease = shared_.lease;
    return !machine().is_transaction() && lease && lease->may_be_stale(&response);
}

/// Nothing of it has been executed, and nothing went ahead of it.
TXSCOPE_INLINE asio::awaitable<Result> SessionState::execute_again(const Shared& self,
                                                                   const Response& failed,
                                                                   SpecialExecution* special) {
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false);
    auto stale = co_await self->shared_.find_stale();
    co_await asio::this_coro::throw_if_cancelled(throws);
    if (!stale) self->throw_failure(failed, false);
    co_return co_await execute(self, std::move(stale), Clock::time_point::max(), special);
}

/// In a coroutine of its own: from elsewhere than the session's strand, or to be cancelled by itself.
TXSCOPE_INLINE asio::awaitable<Result> SessionState::execute_apart(
    const Shared& self, std::optional<Statement>& statement, Clock::time_point deadline,
    SpecialExecution* special) {
    const auto executor = co_await asio::this_coro::executor;
    // With work, as a branch has it: others may come from elsewhere that send in the same turn.
    ForwardedCancellation cancellation{co_await asio::this_coro::cancellation_state, executor,
                                       executor_on(self->on, ambient_of(executor))
                                           .require(asio::execution::outstanding_work.tracked)};
    cancellation.cancel_at(deadline);
    const std::string sql{deadline != Clock::time_point::max() ? statement->sql() : ""};
    Result result;
    try {
        co_await cancellation.spawn(execute_into(result, self, statement, special));
    } catch (const boost::system::system_error& error) {
        if (!cancellation.expired() || error.code() != asio::error::operation_aborted) throw;
        throw StatementTimeout{sql, self->where()};
    }
    co_return result;
}

/// On the session's strand.
TXSCOPE_INLINE asio::awaitable<void> SessionState::execute_into(Result& result, const Shared& self,
                                                                std::optional<Statement>& statement,
                                                                SpecialExecution* special) {
    result = co_await execute(self, std::move(statement), Clock::time_point::max(), special);
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

/// A scope whose statement gets none is lost, as by any other error of a statement.
TXSCOPE_INLINE asio::awaitable<void> SessionState::take_connection(
    const asio::any_io_executor& executor) {
    const auto lock = co_await shared_.leasing.lock();
    if (shared_.lease || shared_.over) co_return;
    // Somebody may have waited for one in vain.
    if (const auto failure = TransactionMachine::scope_failure(*this)) refuse_by(failure);
    try {
        co_await shared_.borrow(executor);
    } catch (...) {
        const auto error = std::current_exception();
        if (machine().is_transaction() && !is_cancellation(error))
            machine().scope_failed(*this, error);
        throw;
    }
}

/// Puts what is unsent into the outbox, and then `statement`, if any: all of it, or the transaction
/// is lost.
TXSCOPE_INLINE Connection::SharedResponse SessionState::put_out(std::optional<Statement>& statement,
                                                                SpecialExecution* special) {
    try {
        auto response = make_response();
        move_unsent(shared_.outbox, response);
        if (!shared_.left_portals.empty()) shared_.put_out_left_portals(response);
        if (special != nullptr) special->put_ahead(shared_.outbox, response);
        if (statement) shared_.outbox.emplace_back(*std::move(statement), response);
        if (special != nullptr) shared_.outbox.back().portal = special->portal;
        return response;
    } catch (...) {
        machine().failed(TransactionMachine::Failure::of_statement, std::current_exception());
        shared_.tell_if_lost();
        throw;
    }
}

/// Puts the openings of this session and those around it, and all they have queued, into `batch`.
TXSCOPE_INLINE void SessionState::move_unsent(Connection::Batch& batch,
                                              const Connection::SharedResponse& response) {
    // Once this session's savepoint is set, what its parent queues belongs behind it.
    if (parent_ != nullptr && savepoint() == Savepoint::unset)
        parent_->move_unsent(batch, response);
    machine().opens(*this);
    if (!std::exchange(opened_, true)) add_opening(batch, response);
    unsent_.move_to(batch, response, *shared_.lease);
}

TXSCOPE_INLINE void SessionState::throw_failure(const Response& response, bool cancelled) {
    bool follows = false;
    shared_.note_write_refusal(response);
    if (machine().is_transaction() && !ended()) {
        follows = machine().answered(answer_of(response), response.error);
        shared_.tell_if_lost();
    }
    if (cancelled) throw cancellation_error();
    if (!follows) std::rethrow_exception(response.error);
    std::rethrow_exception(nest(
        machine().cause(),
        TransactionAborted{"a statement that was under way at the same time failed", where()}));
}

TXSCOPE_INLINE SessionState::LastSent SessionState::put_out_last(std::string_view last) {
    LastSent sent{.report = {shared_, *this, last}};
    if (last.empty() || !opened_ || !unsent_.empty()) {
        sent.last = make_response();
        sent.queued = sent.last;
        move_unsent(shared_.outbox, sent.last);
    }
    if (!last.empty()) {
        sent.last = make_response();
        shared_.outbox.push_back(Request::command(last, sent.last));
    }
    sent.report.answered_in(sent.last);
    return sent;
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

#endif
