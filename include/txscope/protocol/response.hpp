#pragma once

#include <txscope/protocol/error_response.hpp>
#include <txscope/protocol/result_block.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace txscope::protocol {

/// What one caller asked for, one statement or several, and what has become of it.
///
/// Belongs to the caller, who passes it with each of its requests, all of one batch. It stays where
/// it is until it is done, or `Pipeline::abandon` was told that it goes.
class Response {
public:
    enum class Outcome {
        pending,      ///< Not answered yet.
        succeeded,    ///< All statements were executed, and the Sync behind them.
        failed,       ///< A statement of its own failed, or the Sync: `error` says how.
        skipped,      ///< Statements were left out since another's had failed: `error`.
        rolled_back,  ///< It was executed, but undone with its batch, for another's `error`.
        lost,         ///< The connection was lost; what was executed is not known.
        unsent,       ///< The connection was lost before any of it was sent.
    };
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    Response() = default;
    Response(const Response&) = delete;
    Response& operator=(const Response&) = delete;

    /// Whether everything is answered, up to the Sync, and an event has said so: the rest holds only
    /// from then on.
    [[nodiscard]] bool done() const noexcept { return stage_ == Stage::done; }
    [[nodiscard]] Outcome outcome() const noexcept { return outcome_; }

    /// Of the last statement whose result is kept.
    [[nodiscard]] const ResultBlock& result() const noexcept { return result_; }
    [[nodiscard]] ResultBlock take_result() noexcept { return std::move(result_); }
    /// Of the statement whose result is kept, `collector` gets the rows while they arrive, but for the last
    /// ones, and says which columns come in binary. To be called before it is sent; null for no such thing.
    void collect_by(const Collector* collector) noexcept { collector_ = collector; }
    /// The results of all its statements are kept, rather than the last one's. To be called before any
    /// of them is sent.
    void keep_all() { all_ = std::make_unique<std::vector<ResultBlock>>(); }
    [[nodiscard]] bool keeps_all() const noexcept { return all_ != nullptr; }
    /// These, in the order of the statements.
    [[nodiscard]] std::vector<ResultBlock> take_all() noexcept { return std::move(*all_); }

    /// Null when there is none; shared by all that it concerns.
    [[nodiscard]] const std::shared_ptr<const ErrorResponse>& error() const noexcept {
        return error_;
    }
    /// Which of its statements failed, counted from 0; `none` when another's did, or the Sync: that
    /// commits where no transaction block is open, and so runs deferred constraints.
    [[nodiscard]] std::uint32_t failed_statement() const noexcept { return failed_statement_; }
    /// How many it has, so far.
    [[nodiscard]] std::uint32_t statements() const noexcept { return statements_; }

protected:
    /// Done with, and never asked for.
    void refuse(Outcome outcome) noexcept {
        outcome_ = outcome;
        stage_ = Stage::done;
    }

private:
    friend class Requests;
    friend class Answers;
    friend class ResponseList;

    enum class Stage {
        outstanding,
        answered,  // in a `ResponseList`
        done,
    };

    void keep(ResultBlock&& result) {
        if (collected_ != nullptr) result.carry(std::move(collected_));
        if (keeps_all())
            all_->push_back(std::move(result));
        else
            result_ = std::move(result);
    }
    void fail(Outcome outcome, const std::shared_ptr<const ErrorResponse>& error,
              std::uint32_t statement = none) noexcept {
        if (outcome_ != Outcome::pending) return;  // the first error counts
        outcome_ = outcome;
        error_ = error;
        failed_statement_ = statement;
        result_ = {};
        collected_ = nullptr;
    }

    ResultBlock result_;
    const Collector* collector_ = nullptr;
    std::unique_ptr<Collected> collected_;
    std::unique_ptr<std::vector<ResultBlock>> all_;  // mostly one is enough
    std::shared_ptr<const ErrorResponse> error_;
    std::uint32_t failed_statement_ = none;
    std::uint32_t statements_ = 0;
    Outcome outcome_ = Outcome::pending;
    Stage stage_ = Stage::outstanding;
    std::uint64_t first_byte_ = 0;  // of its requests, counted from the connection's beginning
    Response* next_ = nullptr;      // in a `ResponseList`
};

/// Responses that are answered, until they are reported. Costs no memory of its own.
class ResponseList {
public:
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    /// `response` is answered, as its requests have told, else with `outcome`.
    void add(Response& response, Response::Outcome outcome) noexcept {
        if (response.stage_ != Response::Stage::outstanding) return;
        response.stage_ = Response::Stage::answered;
        if (response.outcome_ == Response::Outcome::pending) response.outcome_ = outcome;
        (first_ == nullptr ? first_ : last_->next_) = &response;
        last_ = &response;
    }
    /// The first, which is done now, and no part of it any more; null when there is none.
    [[nodiscard]] Response* take() noexcept {
        Response* const response = first_;
        if (response == nullptr) return nullptr;
        first_ = std::exchange(response->next_, nullptr);
        response->stage_ = Response::Stage::done;
        return response;
    }
    void remove(const Response& response) noexcept {
        Response* previous = nullptr;
        for (Response* at = first_; at != nullptr; previous = at, at = at->next_) {
            if (at != &response) continue;
            (previous == nullptr ? first_ : previous->next_) = at->next_;
            if (last_ == at) last_ = previous;
            return;
        }
    }

private:
    Response* first_ = nullptr;
    Response* last_ = nullptr;
};

}  // namespace txscope::protocol
