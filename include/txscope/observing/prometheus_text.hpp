#pragma once

#include <txscope/core/config.hpp>
#include <txscope/observing/metrics_observer.hpp>
#include <txscope/pool/pool_statistics.hpp>

#include <string>

namespace txscope {

/// What `metrics` has counted, and what the pool of its factory holds, in the text format that Prometheus
/// reads (`Content-Type: text/plain; version=0.0.4`). Times are in seconds.
///
/// What has not happened yet has no line, but for what is counted without labels.
std::string prometheus_text(const MetricsObserver& metrics, const PoolStatistics& pool);

}  // namespace txscope

#if TXSCOPE_DEFINITIONS

#include <txscope/observing/detail/event_words.hpp>

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>

namespace txscope {

namespace detail {

/// Writes metrics, one family after another.
class PrometheusWriter {
public:
    /// What follows is of this family.
    void family(std::string_view name, std::string_view type, std::string_view help) {
        name_ = name;
        fmt::format_to(out_, "# HELP txscope_{} {}\n# TYPE txscope_{} {}\n", name, help, name,
                       type);
    }
    template <typename Number>
    void sample(const std::string& labels, Number value) {
        line("", labels, value);
    }
    template <typename Number>
    void single(std::string_view name, std::string_view type, std::string_view help, Number value) {
        family(name, type, help);
        sample("", value);
    }
    void histogram(const std::string& labels, const Histogram& histogram) {
        const std::string ahead = labels.empty() ? "" : labels + ',';
        std::int64_t below = 0;
        for (std::size_t i = 0; i < Histogram::bounds.size(); ++i) {
            below += histogram.count(i);
            line("_bucket", fmt::format("{}le=\"{}\"", ahead, Histogram::bounds[i]), below);
        }
        below += histogram.count(Histogram::bounds.size());  // not asked for again: it grows
        line("_bucket", ahead + "le=\"+Inf\"", below);
        line("_sum", labels, histogram.sum());
        line("_count", labels, below);
    }
    void errors(const std::string& labels, const ErrorCounter& errors) {
        for (std::size_t i = 0; i < ErrorCounter::size; ++i)
            if (const auto count = errors.count(i); count > 0)
                sample(fmt::format("{}sqlstate_class=\"{}\"", labels, ErrorCounter::name(i)),
                       count);
    }
    std::string take() { return std::move(text_); }

private:
    template <typename Number>
    void line(std::string_view suffix, const std::string& labels, Number value) {
        fmt::format_to(out_, "txscope_{}{}{}{}{} {}\n", name_, suffix, labels.empty() ? "" : "{",
                       labels, labels.empty() ? "" : "}", value);
    }

    std::string text_;
    std::back_insert_iterator<std::string> out_{text_};
    std::string_view name_;
};

/// As a label's value.
inline std::string escaped(std::string_view text) {
    std::string value;
    for (const char c : text) {
        if (c == '\\' || c == '"') value += '\\';
        value += c == '\n' ? std::string{"\\n"} : std::string{c};
    }
    return value;
}

}  // namespace detail

TXSCOPE_INLINE std::string prometheus_text(const MetricsObserver& metrics,
                                           const PoolStatistics& pool) {
    constexpr std::string_view counter = "counter", gauge = "gauge", histogram = "histogram";
    const MetricsObserver::Numbers& numbers = metrics.numbers();
    detail::PrometheusWriter out;
    const auto each_label = [&](const auto& write) {
        for (std::size_t i = 0; i < metrics.labels().size(); ++i)
            write(fmt::format("label=\"{}\"", detail::escaped(metrics.labels()[i])),
                  metrics.transactions()[i]);
    };
    const auto each_wait = [&](const auto& write) {
        for (std::size_t i = 0; i < numbers.waits.size(); ++i)
            if (numbers.waits[i].count() > 0)
                write(fmt::format("outcome=\"{}\"", to_string(static_cast<PoolEvent::Wait>(i))),
                      numbers.waits[i]);
    };

    out.family("transaction_duration_seconds", histogram,
               "How long transactions have had their connection, by how they have ended.");
    each_label([&](const std::string& label, const MetricsObserver::Transactions& of) {
        for (std::size_t i = 0; i < of.ended.size(); ++i)
            if (of.ended[i].count() > 0)
                out.histogram(fmt::format("{},outcome=\"{}\"", label,
                                          detail::outcome_name(MetricsObserver::outcomes[i])),
                              of.ended[i]);
    });
    out.family("transaction_errors_total", counter,
               "Errors that transactions have ended with, by the class of the SQLSTATE.");
    each_label([&](const std::string& label, const MetricsObserver::Transactions& of) {
        out.errors(label + ',', of.errors);
    });
    out.family("transaction_retries_total", counter, "Attempts that were followed by another one.");
    each_label([&](const std::string& label, const MetricsObserver::Transactions& of) {
        out.sample(label, of.retries.count());
    });
    out.family("transactions_open", gauge, "Transactions that have a connection.");
    each_label([&](const std::string& label, const MetricsObserver::Transactions& of) {
        out.sample(label, of.open.count());
    });

    out.family("statement_duration_seconds", histogram,
               "How long statements have taken, from when they were given to the session.");
    out.histogram("", numbers.statements);
    out.family("statement_errors_total", counter,
               "Statements that have failed, by the class of the SQLSTATE.");
    out.errors("", numbers.statement_errors);
    out.single("rollback_failures_total", counter,
               "Connections that were closed because a rollback has failed.",
               numbers.rollback_failures.count());
    out.single("hook_failures_total", counter, "Hooks that have thrown after the outcome.",
               numbers.hook_failures.count());
    out.single("overlong_scopes_total", counter, "Scopes that ran longer than overlong_scope.",
               numbers.overlong_scopes.count());
    out.single("server_notices_total", counter, "What the server has noticed.",
               numbers.notices.count());

    out.family("pool_wait_duration_seconds", histogram,
               "How long was waited for a connection where none was idle, by how that has ended.");
    each_wait(
        [&](const std::string& outcome, const Histogram& waits) { out.histogram(outcome, waits); });
    out.family("pool_loan_duration_seconds", histogram, "How long connections were on loan.");
    out.histogram("", numbers.loans);
    out.family("pool_opening_duration_seconds", histogram, "How long opening a connection took.");
    out.histogram("", numbers.openings);
    out.family("pool_opening_failures_total", counter,
               "Attempts to open a connection that failed.");
    out.sample("transient=\"true\"", numbers.transient_opening_failures.count());
    out.sample("transient=\"false\"", numbers.lasting_opening_failures.count());
    out.family("pool_connections_retired_total", counter, "Connections closed, and why.");
    for (std::size_t i = 1; i < numbers.retired.size(); ++i)
        out.sample(fmt::format("reason=\"{}\"", to_string(static_cast<PoolEvent::Retirement>(i))),
                   numbers.retired[i].count());
    out.single("pool_connections", gauge, "Connections open, being opened or being cleaned up.",
               pool.size);
    out.single("pool_idle_connections", gauge, "Those of them that are ready to be lent.",
               pool.idle);
    out.single("pool_waiters", gauge,
               "Coroutines that wait for a connection, but for whom none is being opened.",
               pool.waiting);
    out.single("pool_loans_total", counter, "Connections lent.", pool.acquired);
    out.single("pool_round_trips_total", counter,
               "Batches sent and awaited, of loans that have ended.", pool.round_trips);
    return out.take();
}

}  // namespace txscope

#endif
