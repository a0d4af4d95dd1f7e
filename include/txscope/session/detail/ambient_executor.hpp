#pragma once

#include <txscope/session/detail/strand.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>

#include <concepts>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

namespace txscope::detail {

class Holder;
class Pool;
class SessionState;

/// What is ambient where a coroutine runs: the innermost session, and through `outer` all around
/// it.
struct Ambient {
    const Pool* pool;                       ///< Whose session it is.
    Holder* holder;                         ///< The session, as the pool knows it.
    std::shared_ptr<SessionState> session;  ///< Null where the surrounding one is set aside.
    std::shared_ptr<const Ambient> outer{};
};

/// The executor that carries the ambient session, on a strand.
///
/// A coroutine hands its executor down to everything it awaits and to every branch of `&&` and
/// `||`, on whichever thread they run: whatever has the executor has the session. Properties are
/// those of the strand beneath.
class AmbientExecutor {
    struct Core {
        std::shared_ptr<const Ambient> ambient;
        Strand strand;
        // The same one, owned together with outstanding work, while somebody holds it so. What is
        // required or preferred of that in turn holds no work.
        mutable std::mutex mutex{};
        mutable std::weak_ptr<const Core> tracked{};
    };
    // The work goes last: without it the context may end, and the strand must not outlive that.
    struct CoreWithWork {
        BaseExecutor work;
        std::shared_ptr<const Core> core;
    };
    using Tracked = asio::execution::outstanding_work_t::tracked_t;

public:
    AmbientExecutor(std::shared_ptr<const Ambient> ambient, Strand strand)
        : core_{std::make_shared<const Core>(std::move(ambient), std::move(strand))} {}

    const std::shared_ptr<const Ambient>& ambient() const noexcept { return core_->ambient; }
    const Strand& strand() const noexcept { return core_->strand; }

    template <typename Function>
    void execute(Function&& function) const {
        core_->strand.execute(marked(std::forward<Function>(function)));
    }
    /// Runs it after all that is ready to run on the strand now, and all that is about to get there.
    template <typename Function>
    void post(Function&& function) const {
        core_->strand.get_inner_executor().post(
            [on = *this, run = std::decay_t<Function>(std::forward<Function>(function))]() mutable {
                on.execute(std::move(run));
            });
    }

    template <typename Property>
        requires asio::can_query_v<const Strand&, Property>
    decltype(auto) query(const Property& property) const {
        return asio::query(core_->strand, property);
    }
    template <typename Property>
        requires asio::can_require_v<const Strand&, Property>
    AmbientExecutor require(const Property& property) const {
        return {core_->ambient, asio::require(core_->strand, property)};
    }
    template <typename Property>
        requires(asio::can_prefer_v<const Strand&, Property> && !is_prefer_only<Property>)
    AmbientExecutor prefer(const Property& property) const {
        if constexpr (std::same_as<Property, Tracked>) return tracked();
        return {core_->ambient, asio::prefer(core_->strand, property)};
    }

    friend bool operator==(const AmbientExecutor& a, const AmbientExecutor& b) noexcept {
        return a.core_ == b.core_ || (a.ambient() == b.ambient() && a.strand() == b.strand());
    }

    /// What is ambient for the code that this thread runs right now, null for nothing. For calls
    /// that are not awaited; a coroutine asks its executor.
    static const Ambient* running() noexcept { return Running::current; }

    /// A coroutine on `executor` goes on in the middle of what another one runs: Asio resumes it
    /// right there where it may. If its executor is not one of these, nothing else says so.
    static void goes_on(const asio::any_io_executor& executor) noexcept {
        const auto* carrier = executor.target<AmbientExecutor>();
        Running::current = carrier != nullptr ? carrier->ambient().get() : nullptr;
    }

private:
    explicit AmbientExecutor(std::shared_ptr<const Core> core) : core_{std::move(core)} {}

    template <typename Function>
    auto marked(Function&& function) const {
        return [core = core_,
                run = std::decay_t<Function>(std::forward<Function>(function))]() mutable {
            const Running mark{core->ambient.get()};
            std::move(run)();
        };
    }

    /// Every operation asks for it, and while a coroutine runs, somebody holds it.
    AmbientExecutor tracked() const {
        const std::lock_guard lock{core_->mutex};
        auto tracked = core_->tracked.lock();
        if (!tracked) {
            const auto owner = std::make_shared<const CoreWithWork>(
                asio::prefer(core_->strand.get_inner_executor(), Tracked{}), core_);
            tracked = {owner, core_.get()};
            core_->tracked = tracked;
        }
        return AmbientExecutor{std::move(tracked)};
    }

    class Running {
    public:
        explicit Running(const Ambient* ambient) : previous_{std::exchange(current, ambient)} {}
        Running(const Running&) = delete;
        Running& operator=(const Running&) = delete;
        ~Running() { current = previous_; }

        static inline thread_local const Ambient* current = nullptr;

    private:
        const Ambient* previous_;
    };

    std::shared_ptr<const Core> core_;
};

/// The ambient part of `executor`, null when it carries none.
inline std::shared_ptr<const Ambient> ambient_of(const asio::any_io_executor& executor) noexcept {
    const auto* carrier = executor.target<AmbientExecutor>();
    return carrier != nullptr ? carrier->ambient() : nullptr;
}

/// The nearest entry for `pool`, from `ambient` outwards; null when there is none.
inline const Ambient* find_ambient(const Ambient* ambient, const Pool* pool) noexcept {
    while (ambient != nullptr && ambient->pool != pool) ambient = ambient->outer.get();
    return ambient;
}

/// The nearest session of `pool`, likewise; null when there is none, or it is set aside.
inline std::shared_ptr<SessionState> find_session(const Ambient* ambient,
                                                  const Pool* pool) noexcept {
    const Ambient* found = find_ambient(ambient, pool);
    return found != nullptr ? found->session : nullptr;
}

/// The strand that `executor` is on, null for none of ours.
inline const Strand* find_strand(const asio::any_io_executor& executor) noexcept {
    const auto* carrier = executor.target<AmbientExecutor>();
    return carrier != nullptr ? &carrier->strand() : executor.target<Strand>();
}

/// The strand that `executor` is on already, or a new one on top of it.
inline Strand strand_on(const asio::any_io_executor& executor) {
    const Strand* strand = find_strand(executor);
    return strand != nullptr ? *strand : Strand{BaseExecutor{executor}};
}

/// The one in `executor`, or one on the strand that `executor` is on already, or on a new one.
inline AmbientExecutor ambient_executor(const asio::any_io_executor& executor) {
    const auto* carrier = executor.target<AmbientExecutor>();
    return carrier != nullptr ? *carrier : AmbientExecutor{nullptr, strand_on(executor)};
}

}  // namespace txscope::detail
