#pragma once

#include <txscope/net/ambient_executor.hpp>
#include <txscope/session/detail/live_span.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>

#include <memory>
#include <utility>

namespace txscope::detail {

class Holder;
class Pool;
class SessionState;

/// Keeps a session. Whoever only hands it on need not know what it is.
using SharedSession = boost::intrusive_ptr<SessionState>;
void intrusive_ptr_add_ref(const SessionState* session) noexcept;
void intrusive_ptr_release(const SessionState* session) noexcept;

/// What is ambient where a coroutine runs: the innermost session, and through `outer` all around
/// it.
///
/// A session is the one that says so of its body: whoever has the executor keeps the session alive.
struct Ambient : AmbientContext {
    using Shared = boost::intrusive_ptr<const Ambient>;

    /// What the session that derives from it makes ambient.
    Ambient(Strand runs_on, const Pool* whose, Holder* known_as, SessionState* innermost,
            Shared around)
        : AmbientContext{runs_on.state()},
          on{std::move(runs_on)},
          pool{whose},
          holder{known_as},
          session{innermost},
          outer{std::move(around)} {}
    /// Sets the session of a pool aside.
    Ambient(Strand runs_on, const Pool* whose, Shared around)
        : Ambient{std::move(runs_on), whose, nullptr, nullptr, std::move(around)} {}
    /// The same on another strand.
    Ambient(Strand runs_on, Shared same)
        : AmbientContext{runs_on.state()},
          on{std::move(runs_on)},
          pool{same->pool},
          holder{same->holder},
          session{same->session},
          outer{same->outer},
          keeps{std::move(same)},
          span{keeps->span} {}

    const Strand on;
    const Pool* const pool;       ///< Whose session it is.
    Holder* const holder;         ///< The session, as the pool knows it.
    SessionState* const session;  ///< Null where the surrounding one is set aside.
    const Shared outer;
    const Shared keeps;                ///< The session, if that is on another strand.
    std::shared_ptr<LiveSpan> span{};  ///< Within which what is begun here begins; mostly null.
};

/// The ambient part of `executor`, which keeps it; null when it carries none.
inline const Ambient* ambient_of(const AmbientExecutor& executor) noexcept {
    return static_cast<const Ambient*>(executor.ambient());
}
inline const Ambient* ambient_of(const asio::any_io_executor& executor) noexcept {
    const auto* carrier = executor.target<AmbientExecutor>();
    return carrier != nullptr ? ambient_of(*carrier) : nullptr;
}

/// Carries what is `ambient` elsewhere onto `strand`.
inline AmbientExecutor executor_on(const Strand& strand, const Ambient* ambient) {
    if (ambient == nullptr) return AmbientExecutor{strand};
    return AmbientExecutor{new Ambient{strand, ambient}};
}

/// What is ambient for the code that this thread runs right now, null for nothing.
inline const Ambient* running_ambient() noexcept {
    return static_cast<const Ambient*>(AmbientExecutor::running());
}

/// The nearest entry for `pool`, from `ambient` outwards; null when there is none.
inline const Ambient* find_ambient(const Ambient* ambient, const Pool* pool) noexcept {
    while (ambient != nullptr && ambient->pool != pool) ambient = ambient->outer.get();
    return ambient;
}

/// The nearest session of `pool`, likewise; null when there is none, or it is set aside.
inline SessionState* find_session(const Ambient* ambient, const Pool* pool) noexcept {
    const Ambient* found = find_ambient(ambient, pool);
    return found != nullptr ? found->session : nullptr;
}

/// The innermost span that `observer` keeps, from `ambient` outwards; null for none.
inline Span* find_span(const Ambient* ambient, const Observer* observer) noexcept {
    for (; ambient != nullptr; ambient = ambient->outer.get())
        if (ambient->span && ambient->span->observer() == observer) return ambient->span->get();
    return nullptr;
}

}  // namespace txscope::detail
