#pragma once

#include <txscope/core/config.hpp>
#include <txscope/net/awaiter.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

namespace txscope::detail {

namespace asio = boost::asio;

class StrandState;

/// What is ambient where a function runs: its strand, and what a derived class adds to that. The
/// state of a strand is one that adds nothing.
struct AmbientContext : boost::intrusive_ref_counter<AmbientContext> {
    /// @param on outlives this
    explicit AmbientContext(StrandState& on) : strand{on} {}
    AmbientContext(const AmbientContext&) = delete;
    AmbientContext& operator=(const AmbientContext&) = delete;
    virtual ~AmbientContext() = default;

    /// This; null where nothing is added to the strand.
    const AmbientContext* said() const noexcept;

    /// How many executors with outstanding work carry it: where there are none, no other coroutine
    /// was started here that has not ended.
    mutable std::atomic<int> outstanding = 0;
    StrandState& strand;
};

/// A strand's function runs on this thread, until this is destroyed.
class Running {
public:
    explicit Running(const StrandState& strand) : strand_{&strand} {}
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() {
        innermost = outer_;
        ambient = outer_ambient_;
    }

    static bool inside(const StrandState& strand) noexcept {
        const Running* running = innermost;
        while (running != nullptr && running->strand_ != &strand) running = running->outer_;
        return running != nullptr;
    }

    /// What is ambient there, null for nothing.
    static inline thread_local const AmbientContext* ambient = nullptr;

private:
    static inline thread_local const Running* innermost = nullptr;

    const StrandState* const strand_;
    const Running* const outer_ = std::exchange(innermost, this);
    const AmbientContext* const outer_ambient_ = ambient;
};

/// What is run once, or destroyed: a function, or a step of an operation.
class Task {
public:
    struct Destroy {
        void operator()(Task* task) const { task->finish_(task, false); }
    };
    using Owner = std::unique_ptr<Task, Destroy>;

    template <typename Function>
    static Owner make(const AmbientContext& context, Function&& function);

    static void run(Owner task) {
        Task* const running = task.release();
        running->finish_(running, true);
    }

    /// Tasks in their order.
    class Queue {
    public:
        Queue() = default;
        Queue(const Queue&) = delete;
        Queue& operator=(const Queue&) = delete;

        bool empty() const noexcept { return first_ == nullptr; }
        void push(Owner task) noexcept {
            *end_ = task.release();
            end_ = &(*end_)->next_;
        }
        Owner pop() noexcept {
            Task* const first = first_;
            first_ = std::exchange(first->next_, nullptr);  // it may be given once more
            if (first_ == nullptr) end_ = &first_;
            return Owner{first};
        }
        void take_all(Queue& other) noexcept {
            if (other.empty()) return;
            *end_ = std::exchange(other.first_, nullptr);
            end_ = std::exchange(other.end_, &other.first_);
        }

    private:
        Task* first_ = nullptr;
        Task** end_ = &first_;
    };

protected:
    explicit Task(void (*finish)(Task*, bool runs)) : finish_{finish} {}

private:
    template <typename Function>
    struct Of;

    void (*const finish_)(Task*, bool runs);
    Task* next_ = nullptr;
};

/// What runs functions one at a time, on top of an executor.
///
/// They lie in a queue of its own only where nothing beneath runs them one at a time anyway. While
/// there is something in it, the executor beneath has exactly one turn to take: destroying the
/// execution context destroys that, which destroys what is queued.
class StrandState final : public AmbientContext {
public:
    using Shared = boost::intrusive_ptr<StrandState>;

    /// @param queues whether `inner` may run several functions at a time
    StrandState(asio::any_io_executor inner, bool queues)
        : AmbientContext{*this}, inner_{std::move(inner)}, queues_{queues} {
        if (const auto* executor = inner_.target<asio::io_context::executor_type>())
            io_ = &executor->context();
    }

    const asio::any_io_executor& inner() const noexcept { return inner_; }

    /// Whether it runs what calls this.
    bool running_in_this_thread() const noexcept { return Running::inside(*this); }

    /// Runs it right here if it may and `posts` is not set, else later.
    template <typename Function>
    void execute(const AmbientContext& context, Function&& function, bool posts) {
        if (posts || !may_run_here())
            return submit(Task::make(context, std::forward<Function>(function)), posts);
        const boost::intrusive_ptr<const AmbientContext> kept{&context};
        const Running mark{*this};
        Running::ambient = context.said();
        std::decay_t<Function>{std::forward<Function>(function)}();
    }
    /// The same.
    void execute(Task::Owner task) {
        if (!may_run_here()) return submit(std::move(task), false);
        const Running mark{*this};
        Task::run(std::move(task));
    }
    /// Runs it after all that is ready to run now, and all that is about to get there.
    void post(Task::Owner task, WaitMemory& memory);

    /// The execution context has work until `finish_work`.
    void start_work();
    /// To be destroyed after all else of the context: that may end then.
    asio::any_io_executor finish_work();

private:
    struct Turn;

    bool may_run_here() const noexcept {
        return running_in_this_thread() ||
               (!queues_ && io_ != nullptr && io_->get_executor().running_in_this_thread());
    }
    void submit(Task::Owner task, bool posts);
    template <typename Allocator>
    void take_turn_later(Task::Owner task, const Allocator& allocator);
    void turn(Task::Owner task);
    void run_queued();
    void end_turn();
    void destroy_queued() noexcept;
    /// Whether nobody else takes a turn.
    bool enqueue(Task::Owner task) {
        const std::lock_guard lock{mutex_};
        (taken_ ? waiting_ : ready_).push(std::move(task));
        return !std::exchange(taken_, true);
    }

    const asio::any_io_executor inner_;
    asio::io_context* io_ = nullptr;  // that of `inner_`, which spares the type erasure
    const bool queues_;

    std::mutex mutex_;
    bool taken_ = false;   // a turn is under way, or about to be
    Task::Queue ready_;    // for that turn
    Task::Queue waiting_;  // for the next one

    std::atomic<int> works_ = 0;
    asio::any_io_executor work_;  // while there is some
};

/// Functions of which one runs at a time, whatever runs beneath.
class Strand {
public:
    explicit Strand(StrandState::Shared state) : state_{std::move(state)} {}

    bool running_in_this_thread() const noexcept { return state_->running_in_this_thread(); }
    StrandState& state() const noexcept { return *state_; }

    friend bool operator==(const Strand&, const Strand&) noexcept = default;

private:
    StrandState::Shared state_;
};

inline const AmbientContext* AmbientContext::said() const noexcept {
    return this != &strand ? this : nullptr;
}

template <typename Function>
struct Task::Of : Task {
    template <typename From>
    Of(const AmbientContext& in, From&& from)
        : Task{&finish}, context{&in}, function{std::forward<From>(from)} {}

    // The memory is free again when the function runs: what that allocates next fits.
    static void finish(Task* task, bool runs) {
        auto* const self = static_cast<Of*>(task);
        const auto kept = std::move(self->context);
        Function moved{std::move(self->function)};
        self->~Of();
        asio::recycling_allocator<Of>{}.deallocate(self, 1);
        if (!runs) return;
        Running::ambient = kept->said();
        std::move(moved)();
    }

    boost::intrusive_ptr<const AmbientContext> context;
    Function function;
};

template <typename Function>
Task::Owner Task::make(const AmbientContext& context, Function&& function) {
    using Made = Of<std::decay_t<Function>>;
    asio::recycling_allocator<Made> allocator;
    Made* const memory = allocator.allocate(1);
    try {
        return Owner{new (memory) Made{context, std::forward<Function>(function)}};
    } catch (...) {
        allocator.deallocate(memory, 1);
        throw;
    }
}

}  // namespace txscope::detail

#if TXSCOPE_DEFINITIONS

#include <boost/asio/execution/allocator.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution/relationship.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/require.hpp>

namespace txscope::detail {

/// What the executor beneath runs: one task, or what is queued.
struct StrandState::Turn {
    Turn(StrandState& on, Task::Owner given) : strand{&on}, task{std::move(given)} {}
    Turn(Turn&&) noexcept = default;
    ~Turn() {
        if (strand && !task) strand->destroy_queued();
    }
    void operator()() {
        const Shared taken = std::move(strand);
        taken->turn(std::move(task));
    }

    Shared strand;
    Task::Owner task;
};

TXSCOPE_INLINE void StrandState::submit(Task::Owner task, bool posts) {
    if (queues_ && !enqueue(std::move(task))) return;
    Turn taken{*this, std::move(task)};
    const auto blocking = asio::execution::blocking;
    if (io_ != nullptr && posts)
        asio::require(io_->get_executor(), blocking.never).execute(std::move(taken));
    else if (io_ != nullptr)
        io_->get_executor().execute(std::move(taken));
    else if (posts)
        asio::require(inner_, blocking.never).execute(std::move(taken));
    else
        inner_.execute(std::move(taken));
}

TXSCOPE_INLINE void StrandState::post(Task::Owner task, WaitMemory& memory) {
    take_turn_later(std::move(task), WaitMemory::Allocator<std::byte>{memory});
}

template <typename Allocator>
void StrandState::take_turn_later(Task::Owner task, const Allocator& allocator) {
    Turn taken{*this, std::move(task)};
    const auto later = [&](const auto& inner) {
        asio::prefer(asio::require(inner, asio::execution::blocking.never),
                     asio::execution::relationship.continuation,
                     asio::execution::allocator(allocator))
            .execute(std::move(taken));
    };
    if (io_ != nullptr)
        later(io_->get_executor());
    else
        later(inner_);
}

TXSCOPE_INLINE void StrandState::turn(Task::Owner task) {
    if (queues_ && task && !enqueue(std::move(task))) return;
    const Running mark{*this};
    if (queues_)
        run_queued();
    else
        Task::run(std::move(task));
}

TXSCOPE_INLINE void StrandState::run_queued() {
    struct End {
        StrandState& strand;
        ~End() { strand.end_turn(); }  // what has thrown has not run all
    } const end{*this};
    while (!ready_.empty()) Task::run(ready_.pop());
}

TXSCOPE_INLINE void StrandState::end_turn() {
    {
        const std::lock_guard lock{mutex_};
        ready_.take_all(waiting_);
        taken_ = !ready_.empty();
        if (!taken_) return;
    }
    take_turn_later(nullptr, std::allocator<void>{});
}

TXSCOPE_INLINE void StrandState::destroy_queued() noexcept {
    Task::Queue destroyed;
    {
        const std::lock_guard lock{mutex_};
        destroyed.take_all(ready_);
        destroyed.take_all(waiting_);
        taken_ = false;
    }
    while (!destroyed.empty()) destroyed.pop();
}

// Only who has the mutex makes it 1 or 0.
TXSCOPE_INLINE void StrandState::start_work() {
    int works = works_.load(std::memory_order_relaxed);
    while (works > 0)
        if (works_.compare_exchange_weak(works, works + 1)) return;
    const std::lock_guard lock{mutex_};
    if (works_.fetch_add(1) == 0)
        work_ = asio::prefer(inner_, asio::execution::outstanding_work.tracked);
}

TXSCOPE_INLINE asio::any_io_executor StrandState::finish_work() {
    int works = works_.load(std::memory_order_relaxed);
    while (works > 1)
        if (works_.compare_exchange_weak(works, works - 1)) return nullptr;
    const std::lock_guard lock{mutex_};
    return works_.fetch_sub(1) == 1 ? std::exchange(work_, nullptr) : nullptr;
}

}  // namespace txscope::detail

#endif
