#include "support/catch.hpp"
#include <txscope/pool/detail/pool_machine.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using txscope::detail::ConnectionNode;
using txscope::detail::Holder;
using txscope::detail::PoolMachine;
using txscope::detail::Requester;
using txscope::detail::Waiter;
using Condition = PoolMachine::Condition;
using Failure = Waiter::Failure;
using Kind = PoolMachine::Action::Kind;
using State = Waiter::State;
using Words = std::vector<std::string>;

const char* name_of(Failure failure) {
    switch (failure) {
        case Failure::closed:
            return "closed";
        case Failure::exhausted:
            return "exhausted";
        case Failure::deadlock:
            return "deadlock";
        case Failure::not_opened:
            return "not opened";
    }
    return "?";
}

// ---- Tables: what follows from one event. ----

/// A machine with named waiters and connections, which tells its actions in words.
struct Bench {
    explicit Bench(std::size_t max_size, std::size_t max_waiters = 100)
        : machine{{.connections = max_size, .waiters = max_waiters}} {}

    struct Asker {
        explicit Asker(std::vector<Holder*> within)
            : waiter{Requester{holder, std::move(within)}} {}
        Holder holder{std::source_location::current()};
        Waiter waiter;
    };
    Waiter& waiter(char name) { return askers.at(name)->waiter; }

    Words ask(char name, const std::string& within = "") {
        std::vector<Holder*> outer;
        for (const char each : within) outer.push_back(&askers.at(each)->holder);
        askers[name] = std::make_unique<Asker>(std::move(outer));
        machine.asked(waiter(name));
        return actions();
    }
    /// Connections are called 1, 2, … in the order of opening.
    Words opened() {
        if (!openings.empty()) openings.pop_front();
        connections.emplace_back();
        machine.opened(connections.back());
        return actions();
    }
    Words returned(std::size_t number, Condition condition = Condition::clean) {
        machine.returned(connections.at(number - 1), condition);
        return actions();
    }
    Words cleaned(std::size_t number, Condition condition = Condition::clean) {
        machine.cleaned(connections.at(number - 1), condition);
        return actions();
    }
    template <typename Event>
    Words after(Event event) {
        event();
        return actions();
    }

    Words actions() {
        Words words;
        for (auto next = machine.next_action(); next.kind != Kind::none;
             next = machine.next_action())
            words.push_back(word(next));
        return words;
    }
    std::string word(const PoolMachine::Action& action) {
        const auto number = [&] {
            const auto found = std::ranges::find_if(
                connections, [&](const auto& each) { return &each == action.connection; });
            return std::to_string(found - connections.begin() + 1);
        };
        switch (action.kind) {
            case Kind::open:
                openings.push_back(action.number);
                return action.failed_attempts == 0
                           ? "open"
                           : "open after " + std::to_string(action.failed_attempts);
            case Kind::clean:
                return "clean " + number();
            case Kind::close:
                return "close " + number();
            case Kind::drained:
                return "drained";
            default:
                break;
        }
        const auto asker = std::ranges::find_if(
            askers, [&](const auto& each) { return &each.second->waiter == action.waiter; });
        const std::string name{asker->first};
        if (action.waiter->state() == State::failed)
            return name + ": " + name_of(action.waiter->failure());
        return name + ": granted";
    }

    /// Of those that were begun, the first.
    std::uint64_t ended_opening() {
        const auto number = openings.front();
        openings.pop_front();
        return number;
    }
    Words opening_failed() {
        machine.opening_failed(ended_opening());
        return actions();
    }

    PoolMachine machine;
    std::deque<std::uint64_t> openings{};
    std::unordered_map<char, std::unique_ptr<Asker>> askers{};
    std::deque<ConnectionNode> connections{};
};

/// With as many connections as are allowed, idle.
std::unique_ptr<Bench> warm(std::size_t connections, std::size_t waiters = 100) {
    auto bench = std::make_unique<Bench>(connections, waiters);
    for (std::size_t i = 0; i < connections; ++i) {
        REQUIRE(bench->machine.opening(connections));
        REQUIRE(bench->opened().empty());
    }
    return bench;
}

}  // namespace

TEST_CASE("a connection is opened for each who asks, as far as there is room", "[pool_machine]") {
    Bench bench{2};
    CHECK(bench.ask('a') == Words{"open"});
    CHECK(bench.ask('b') == Words{"open"});
    CHECK(bench.ask('c').empty());
    CHECK(bench.machine.size() == 2);
    CHECK(bench.machine.openings() == 2);
    CHECK(bench.machine.waiting() == 1);  // for the others one is being opened
    CHECK(bench.opened() == Words{"a: granted"});
    CHECK(bench.opened() == Words{"b: granted"});
    CHECK(bench.returned(2) == Words{"c: granted"});
}

TEST_CASE("who waits for an opening gets what comes first, and the opening serves the next one",
          "[pool_machine]") {
    Bench bench{2};
    bench.ask('a');
    bench.opened();
    CHECK(bench.ask('b') == Words{"open"});
    CHECK(bench.returned(1) == Words{"b: granted"});
    CHECK(bench.ask('c').empty());  // the opening under way is enough
    CHECK(bench.opened() == Words{"c: granted"});
}

TEST_CASE("an opening that nobody needs any more is idle in the end", "[pool_machine]") {
    Bench bench{1};
    bench.ask('a');
    bench.machine.withdrawn(bench.waiter('a'));
    CHECK(bench.actions().empty());
    CHECK(bench.machine.openings() == 1);
    CHECK(bench.opened().empty());
    CHECK(bench.machine.idle().size() == 1);
    CHECK(bench.ask('b') == Words{"b: granted"});
}

TEST_CASE("the last connection back is the first lent", "[pool_machine]") {
    const auto bench = warm(2);
    ConnectionNode* lent = bench->machine.lend_idle(nullptr);
    CHECK(lent == &bench->connections[1]);
    CHECK(bench->machine.lend_idle(nullptr) == &bench->connections[0]);
    CHECK(bench->machine.lend_idle(nullptr) == nullptr);
    CHECK(bench->returned(1).empty());
    CHECK(bench->machine.lend_idle(nullptr) == &bench->connections[0]);
}

TEST_CASE("one more than may wait is turned away, unless one is opened for somebody",
          "[pool_machine]") {
    Bench bench{1, 1};
    CHECK(bench.ask('a') == Words{"open"});
    CHECK(bench.ask('b').empty());
    CHECK(bench.ask('c') == Words{"c: exhausted"});
    CHECK(bench.machine.waiting() == 1);
    CHECK(bench.opened() == Words{"a: granted"});
    CHECK(bench.ask('d') == Words{"d: exhausted"});
    CHECK(bench.returned(1) == Words{"b: granted"});
    CHECK(bench.ask('e').empty());
}

TEST_CASE("an opening that fails fails the first who waits, and the next gets one of its own",
          "[pool_machine]") {
    Bench bench{1};
    bench.ask('a');
    bench.ask('b');
    CHECK(bench.opening_failed() == Words{"a: not opened", "open"});
    CHECK(bench.opening_failed() == Words{"b: not opened"});
    CHECK(bench.machine.size() == 0);
    CHECK(bench.ask('c') == Words{"open"});
}

TEST_CASE("an opening that fails fails nobody whom a returned connection can serve",
          "[pool_machine]") {
    Bench bench{2};
    bench.ask('a');
    bench.opened();
    bench.ask('b');
    CHECK(bench.opening_failed() == Words{"open after 1"});
    CHECK(bench.opening_failed() == Words{"open after 2"});
    SECTION("nor one whom a connection can serve that is being cleaned") {
        CHECK(bench.returned(1, Condition::dirty) == Words{"clean 1"});
        CHECK(bench.opening_failed() == Words{"open after 3"});
        CHECK(bench.cleaned(1) == Words{"b: granted"});
    }
    SECTION("but when that one is lost, nothing else is left to wait for") {
        CHECK(bench.returned(1, Condition::broken) == Words{"close 1"});
        CHECK(bench.opening_failed() == Words{"b: not opened"});
    }
    SECTION("but when it is held by somebody within whom another one waits, it does not return") {
        bench.machine.withdrawn(bench.waiter('b'));
        CHECK(bench.ask('c', "a").empty());              // the opening is still under way
        CHECK(bench.opening_failed() == Words{"open"});  // that one was begun before c asked
        CHECK(bench.opening_failed() == Words{"c: not opened"});
    }
    SECTION("and once it is opened, attempts are counted anew") {
        CHECK(bench.opened() == Words{"b: granted"});
        CHECK(bench.returned(2, Condition::broken) == Words{"close 2"});
        CHECK(bench.ask('d') == Words{"open"});
        CHECK(bench.opening_failed() == Words{"open after 1"});
    }
}

TEST_CASE("an opening that fails fails nobody who asked when it was under way already",
          "[pool_machine]") {
    Bench bench{1};
    bench.ask('a');
    bench.machine.withdrawn(bench.waiter('a'));
    CHECK(bench.ask('b').empty());
    CHECK(bench.opening_failed() == Words{"open"});
    CHECK(bench.ask('c').empty());
    CHECK(bench.opening_failed() == Words{"b: not opened", "open"});
    CHECK(bench.opening_failed() == Words{"c: not opened"});
}

TEST_CASE("an opening that cannot even be begun is not tried again at once", "[pool_machine]") {
    Bench bench{2};
    bench.ask('a');
    bench.opened();
    bench.ask('b');
    CHECK(bench.after([&] { bench.machine.not_opening(); }).empty());
    CHECK(bench.machine.size() == 1);
    CHECK(bench.machine.waiting() == 1);
    CHECK(bench.ask('c') == Words{"open after 1"});
    CHECK(bench.returned(1) == Words{"b: granted"});
}

TEST_CASE("an opening that nobody asked for fails nobody", "[pool_machine]") {
    Bench bench{1};
    CHECK(bench.machine.opening(1));
    CHECK_FALSE(bench.machine.opening(1));
    CHECK(bench.ask('a').empty());
    CHECK(bench.after([&] { bench.machine.opening_given_up(); }) == Words{"open"});
}

TEST_CASE("a dirty connection is cleaned before it is lent again, a broken one is replaced",
          "[pool_machine]") {
    const auto bench = warm(1);
    bench->ask('a');
    bench->ask('b');
    CHECK(bench->returned(1, Condition::dirty) == Words{"clean 1"});
    CHECK(bench->machine.size() == 1);
    SECTION("cleaned") { CHECK(bench->cleaned(1) == Words{"b: granted"}); }
    SECTION("not to be cleaned") {
        CHECK(bench->cleaned(1, Condition::broken) == Words{"close 1", "open"});
        CHECK(bench->opened() == Words{"b: granted"});
    }
}

TEST_CASE("an idle connection that is lost makes room for another", "[pool_machine]") {
    const auto bench = warm(1);
    CHECK(bench->after([&] { bench->machine.lost(bench->connections[0]); }) == Words{"close 1"});
    CHECK(bench->machine.size() == 0);
    CHECK(bench->ask('a') == Words{"open"});
}

TEST_CASE("who is withdrawn gives back what it was granted meanwhile", "[pool_machine]") {
    const auto bench = warm(1);
    bench->ask('a');
    bench->ask('b');
    bench->ask('c');
    CHECK(bench->returned(1) == Words{"b: granted"});
    CHECK(bench->after([&] { bench->machine.withdrawn(bench->waiter('b')); }) ==
          Words{"c: granted"});
    CHECK(&bench->machine.taken(bench->waiter('c')) == &bench->connections[0]);
    CHECK(bench->after([&] { bench->machine.withdrawn(bench->waiter('c')); }).empty());
    CHECK(bench->machine.lent().size() == 1);  // it has its connection
}

TEST_CASE("of those whose waits keep all connections, the newest is refused", "[pool_machine]") {
    const auto bench = warm(2);
    bench->ask('b');
    bench->ask('a');  // has connection 1
    CHECK(bench->ask('x').empty());
    CHECK(bench->ask('c', "a").empty());
    CHECK(bench->ask('y').empty());
    SECTION("when it asks") {
        CHECK(bench->ask('d', "b") == Words{"d: deadlock"});
        CHECK(bench->returned(2) == Words{"x: granted"});
        CHECK(bench->returned(1) == Words{"c: granted"});
    }
    SECTION("when somebody gets a connection within whom it waits") {
        CHECK(bench->ask('d', "x").empty());
        CHECK(bench->returned(2) == Words{"x: granted", "d: deadlock"});
    }
    SECTION("a wait within all who hold one keeps them all") {
        bench->machine.withdrawn(bench->waiter('c'));
        CHECK(bench->ask('d', "ab") == Words{"d: deadlock"});
    }
    SECTION("not while one is cleaned, and not when that is lost") {
        CHECK(bench->returned(2, Condition::dirty) == Words{"clean 2"});
        CHECK(bench->cleaned(2, Condition::broken) == Words{"close 2", "open"});
        CHECK(bench->opened() == Words{"x: granted"});
        CHECK(bench->ask('e', "x") == Words{"e: deadlock"});
    }
}

TEST_CASE("a closed pool refuses everybody, and says when all connections are back",
          "[pool_machine]") {
    const auto bench = warm(2);
    bench->ask('a');
    bench->ask('b');
    bench->ask('c');
    bench->returned(1);
    bench->machine.withdrawn(bench->waiter('c'));
    bench->ask('d');
    const auto close = [&] { bench->machine.closed(); };
    SECTION("those on loan are closed when they come back") {
        bench->ask('e');
        CHECK(bench->after(close) == Words{"e: closed"});
        CHECK(bench->ask('f') == Words{"f: closed"});
        CHECK(bench->machine.lend_idle(nullptr) == nullptr);
        CHECK_FALSE(bench->machine.opening(2));
        CHECK(bench->returned(1) == Words{"close 1"});
        CHECK(bench->returned(2, Condition::dirty) == Words{"clean 2"});
        CHECK(bench->cleaned(2) == Words{"close 2", "drained"});
    }
    SECTION("idle ones at once") {
        bench->returned(1);
        bench->returned(2);
        CHECK(bench->after(close) == Words{"close 2", "close 1", "drained"});
        CHECK(bench->machine.size() == 0);
    }
    SECTION("what is being opened is closed, too") {
        bench->returned(1, Condition::broken);
        CHECK(bench->ask('e') == Words{"open"});
        bench->returned(2, Condition::broken);
        CHECK(bench->after(close) == Words{"e: closed"});
        CHECK(bench->opened() == Words{"close 3", "drained"});
    }
}

// ---- Every order of events in small pools. ----

namespace {

/// Who asks within whom: for each asker those whose connections its wait keeps.
using Nesting = std::vector<std::vector<std::size_t>>;

/// A machine, and beside it what a naive pool knows, which says what is right.
///
/// Any disagreement is thrown.
class World {
public:
    enum class Happening {
        asked,
        withdrawn,  // cancelled, timed out or destroyed: the same to a pool
        taken,
        returned,
        left_dirty,
        broken,
        cleaned,
        not_cleaned,
        idle_lost,
        opened,
        opening_failed,
        not_opening,
        warming_up,
        warmed_up,
        given_up,
        closed
    };
    struct Event {
        Happening what;
        std::size_t whom = 0;  // an asker, a connection, or an opening
    };

    static std::string word(const Event& event) {
        constexpr std::array words{"asked",      "withdrawn", "taken",          "returned",
                                   "left dirty", "broken",    "cleaned",        "not cleaned",
                                   "idle lost",  "opened",    "opening failed", "not opening",
                                   "warming up", "warmed up", "given up",       "closed"};
        return std::string{", "} + words.at(static_cast<std::size_t>(event.what)) + " " +
               std::to_string(event.whom);
    }

    World(std::size_t connections, std::size_t max_waiters, const Nesting& nesting)
        : max_size_{connections},
          max_waiters_{max_waiters},
          nodes_(connections),
          machine_{{.connections = connections, .waiters = max_waiters}} {
        for (const auto& within : nesting) askers_.emplace_back(within);
        askers_are_alike_ = std::ranges::all_of(nesting, &std::vector<std::size_t>::empty);
    }

    /// All that can happen next.
    std::vector<Event> possible() const {
        using enum Happening;
        std::vector<Event> events;
        for (std::size_t i = 0; i < askers_.size(); ++i) switch (askers_[i].is) {
                case Is::outside:
                    events.push_back({asked, i});
                    break;
                case Is::waiting:
                    events.push_back({withdrawn, i});
                    break;
                case Is::granted:
                    events.push_back({withdrawn, i});
                    events.push_back({taken, i});
                    break;
                case Is::holding:
                    for (const auto how : {returned, left_dirty, broken})
                        events.push_back({how, i});
                    break;
            }
        for (std::size_t c = 0; c < nodes_.size(); ++c) {
            if (cleaning_[c]) events.push_back({cleaned, c}), events.push_back({not_cleaned, c});
            if (idle_[c]) events.push_back({idle_lost, c});
        }
        for (std::size_t o = 0; o < openings_.size(); ++o) {
            if (o > 0 && asked_by(openings_[o]) == asked_by(openings_[o - 1])) continue;  // alike
            for (const auto how : {opened, opening_failed}) events.push_back({how, o});
        }
        if (!openings_.empty()) events.push_back({not_opening, openings_.size() - 1});
        if (warm_ups_ > 0) events.push_back({warmed_up}), events.push_back({given_up});
        if (warm_ups_ == 0) events.push_back({warming_up});
        if (!closed_) events.push_back({closed});
        return events;
    }

    /// @param checks not where it has been checked before: repeating is quick
    void happens(const Event& event, bool checks = true);

    /// All that decides what comes next, whatever led there.
    std::string key() const {
        std::string key;
        for (const Asker& asker : askers_)
            key += static_cast<char>('0' + static_cast<int>(asker.is));
        if (askers_are_alike_)
            std::ranges::sort(key);
        else
            for (const std::size_t each : queue_) key += static_cast<char>('a' + each);
        key += '|';
        // So are connections: how many there are of each kind is enough.
        key += static_cast<char>('0' + std::ranges::count(idle_, true));
        key += static_cast<char>('0' + std::ranges::count(cleaning_, true));
        std::string known_to;
        for (const auto& opening : openings_)
            known_to += static_cast<char>('0' + asked_by(opening));
        std::ranges::sort(known_to);
        key += '(' + known_to + ')';
        key += static_cast<char>('0' + warm_ups_);
        key += closed_ ? 'c' : ' ';
        key += asked_in_vain_ ? 'v' : ' ';
        return key;
    }

    /// Everybody is answered even if nothing can be opened any more, and nobody loses patience, as
    /// long as connections come back from those within whom nobody waits.
    void check_that_all_are_answered();

private:
    enum class Is {
        outside,
        waiting,
        granted,
        holding
    };
    struct Asker {
        explicit Asker(const std::vector<std::size_t>& outer) : within{outer} {}
        std::vector<std::size_t> within;
        Is is = Is::outside;
        std::uint64_t number = 0;  // when it asked
        std::size_t connection = 0;
        std::unique_ptr<Holder> holder = std::make_unique<Holder>(std::source_location{});
        std::unique_ptr<Waiter> waiter{};
    };

    static void require(bool right, const char* what) {
        if (!right) throw std::logic_error{what};
    }

    /// How many of those who wait had asked when an opening was begun.
    std::ptrdiff_t asked_by(std::uint64_t opening) const {
        return std::ranges::count_if(
            queue_, [&](std::size_t each) { return askers_[each].number <= opening; });
    }
    bool has(const Asker& asker) const {
        return asker.is == Is::granted || asker.is == Is::holding;
    }
    bool somebody_waits_within(std::size_t holder) const {
        return std::ranges::any_of(queue_, [&](std::size_t each) {
            return std::ranges::count(askers_[each].within, holder) > 0;
        });
    }
    std::size_t lent() const {
        return static_cast<std::size_t>(
            std::ranges::count_if(askers_, [&](const Asker& each) { return has(each); }));
    }
    /// On loan, to somebody within whom nobody waits, or being cleaned.
    bool one_can_come_back() const {
        if (std::ranges::count(cleaning_, true) > 0) return true;
        for (std::size_t i = 0; i < askers_.size(); ++i)
            if (has(askers_[i]) && !somebody_waits_within(i)) return true;
        return false;
    }
    std::size_t size() const {
        return lent() + openings_.size() + warm_ups_ +
               static_cast<std::size_t>(std::ranges::count(idle_, true)) +
               static_cast<std::size_t>(std::ranges::count(cleaning_, true));
    }
    /// Every connection is held by somebody within whom another one waits.
    bool deadlocked() const { return size() > 0 && size() == lent() && !one_can_come_back(); }
    std::size_t waiting() const {
        const auto opening = openings_.size() + warm_ups_;
        return queue_.size() > opening ? queue_.size() - opening : 0;
    }
    std::optional<std::size_t> newest_that_keeps_one() const {
        for (std::size_t i = queue_.size(); i-- > 0;)
            for (const std::size_t outer : askers_[queue_[i]].within)
                if (has(askers_[outer])) return queue_[i];
        return std::nullopt;
    }

    std::size_t unused_node() const {
        for (std::size_t c = 0; c < nodes_.size(); ++c)
            if (!idle_[c] && !cleaning_[c] && std::ranges::none_of(askers_, [&](const Asker& each) {
                    return has(each) && each.connection == c;
                }))
                return c;
        throw std::logic_error{"more connections than allowed"};
    }
    std::size_t index_of(const ConnectionNode* node) const {
        return static_cast<std::size_t>(node - nodes_.data());
    }
    std::uint64_t end_opening(std::size_t which) {
        const auto begun = openings_[which];
        openings_.erase(openings_.begin() + static_cast<std::ptrdiff_t>(which));
        return begun;
    }
    void follow(const Event& event, std::optional<std::size_t> free, std::uint64_t ended);
    void check(const Event& event) const;
    void answer(Waiter& waiter, const Event& event, std::optional<std::size_t>& free);

    const std::size_t max_size_;
    const std::size_t max_waiters_;
    std::vector<Asker> askers_;
    bool askers_are_alike_ = false;
    std::vector<ConnectionNode> nodes_;
    std::array<bool, 3> idle_{};
    std::array<bool, 3> cleaning_{};
    std::vector<std::size_t> queue_;
    std::uint64_t asked_ = 0;
    std::vector<std::uint64_t> openings_;  // when each was begun
    std::size_t warm_ups_ = 0;
    bool closed_ = false;
    bool drained_ = false;
    bool asked_in_vain_ = false;  // an opening could not even be begun
    PoolMachine machine_;
};

void World::happens(const Event& event, bool checks) {
    using enum Happening;
    std::optional<std::size_t> free;  // the connection that is about to be given to somebody
    std::uint64_t ended = 0;          // the opening that has failed
    switch (event.what) {
        case asked: {
            Asker& asker = askers_[event.whom];
            std::vector<Holder*> within;
            for (const std::size_t outer : asker.within)
                within.push_back(askers_[outer].holder.get());
            asker.waiter = std::make_unique<Waiter>(Requester{*asker.holder, std::move(within)});
            if (ConnectionNode* node = machine_.lend_idle(asker.holder.get())) {
                asker.is = Is::holding;
                asker.connection = index_of(node);
                require(queue_.empty(), "somebody overtook those who wait");
                require(std::exchange(idle_[asker.connection], false),
                        "what was lent was not idle");
            } else {
                require(std::ranges::count(idle_, true) == 0, "an idle connection was not lent");
                asker.is = Is::waiting;
                asker.number = ++asked_;
                queue_.push_back(event.whom);
                machine_.asked(*asker.waiter);
            }
            break;
        }
        case withdrawn: {
            Asker& asker = askers_[event.whom];
            if (asker.is == Is::granted) free = asker.connection;
            std::erase(queue_, event.whom);
            asker.is = Is::outside;
            machine_.withdrawn(*asker.waiter);
            break;
        }
        case taken: {
            Asker& asker = askers_[event.whom];
            asker.is = Is::holding;
            require(&machine_.taken(*asker.waiter) == &nodes_[asker.connection],
                    "another connection was taken than granted");
            break;
        }
        case returned:
        case left_dirty:
        case broken: {
            Asker& asker = askers_[event.whom];
            asker.is = Is::outside;
            if (event.what == returned) free = asker.connection;
            if (event.what == left_dirty) cleaning_[asker.connection] = true;
            machine_.returned(nodes_[asker.connection], event.what == returned ? Condition::clean
                                                        : event.what == broken ? Condition::broken
                                                                               : Condition::dirty);
            break;
        }
        case cleaned:
        case not_cleaned:
            cleaning_[event.whom] = false;
            if (event.what == cleaned) free = event.whom;
            machine_.cleaned(nodes_[event.whom],
                             event.what == cleaned ? Condition::clean : Condition::broken);
            break;
        case idle_lost:
            idle_[event.whom] = false;
            machine_.lost(nodes_[event.whom]);
            break;
        case opened:
        case warmed_up:
            free = unused_node();
            event.what == opened ? end_opening(event.whom) : --warm_ups_;
            asked_in_vain_ = false;
            machine_.opened(nodes_[*free]);
            break;
        case opening_failed:
        case not_opening: {
            asked_in_vain_ = event.what == not_opening;
            ended = end_opening(event.whom);
            if (asked_in_vain_) ended = asked_;
            asked_in_vain_ ? machine_.not_opening() : machine_.opening_failed(ended);
            break;
        }
        case warming_up: {
            const bool room = !closed_ && size() < max_size_;
            require(machine_.opening(max_size_) == room, "an opening within the limit, or none");
            if (room) ++warm_ups_;
            break;
        }
        case given_up:
            --warm_ups_;
            machine_.opening_given_up();
            break;
        case closed:
            closed_ = true;
            machine_.closed();
            break;
    }
    follow(event, free, ended);
    if (checks) check(event);
}

/// Carries out what the machine says, and compares.
void World::follow(const Event& event, std::optional<std::size_t> free, std::uint64_t ended) {
    using enum Happening;
    bool in_vain = (event.what == opening_failed || event.what == not_opening) && !queue_.empty() &&
                   !one_can_come_back() && askers_[queue_.front()].number <= ended;
    for (auto next = machine_.next_action(); next.kind != Kind::none; next = machine_.next_action())
        switch (next.kind) {
            case Kind::answer:
                if (next.waiter->state() == State::failed &&
                    next.waiter->failure() == Failure::not_opened)
                    require(std::exchange(in_vain, false), "a failed opening failed too many");
                answer(*next.waiter, event, free);
                break;
            case Kind::open:
                require(!closed_, "a closed pool opens none");
                require(queue_.size() > openings_.size() + warm_ups_,
                        "an opening that nobody needs");
                require(next.number == asked_, "an opening's number");
                openings_.push_back(next.number);
                asked_in_vain_ = false;
                require(next.failed_attempts == 0 || one_can_come_back() ||
                            event.what != opening_failed,
                        "who has nothing else to wait for has an opening at once");
                break;
            case Kind::clean:
                require(event.what == left_dirty && cleaning_[index_of(next.connection)],
                        "only what is dirty is cleaned");
                break;
            case Kind::close: {
                const std::size_t which = index_of(next.connection);
                if (free == which)
                    free.reset();
                else if (event.what == closed)
                    require(std::exchange(idle_[which], false), "what was closed was not idle");
                else
                    require(event.what == broken || event.what == not_cleaned ||
                                event.what == idle_lost,
                            "a good connection was closed");
                require(closed_ || event.what != returned, "a clean connection was closed");
                break;
            }
            case Kind::drained:
                require(closed_ && size() == 0 && !free, "drained too early");
                require(!std::exchange(drained_, true), "drained twice");
                break;
            case Kind::none:
                break;
        }
    require(!in_vain, "an opening failed in vain, and nobody was told");
    if (free) {
        require(!closed_, "a closed pool keeps none");
        require(queue_.empty(), "a connection was kept while somebody waits");
        idle_[*free] = true;
    }
}

void World::check(const Event& event) const {
    using enum Happening;
    require(drained_ == (closed_ && size() == 0), "drained when all are back, and only then");
    require(size() <= max_size_, "more connections than allowed");
    require(machine_.size() == size(), "size");
    require(machine_.openings() == openings_.size() + warm_ups_, "openings");
    require(machine_.waiting() == waiting(), "waiting");
    require(machine_.anybody_waits() == !queue_.empty(), "anybody waits");
    require(machine_.lent().size() == lent(), "lent");
    require(machine_.idle().size() == static_cast<std::size_t>(std::ranges::count(idle_, true)),
            "idle");
    require(waiting() <= max_waiters_ || event.what != asked, "more wait than may");
    require(queue_.empty() || std::ranges::count(idle_, true) == 0, "idle while somebody waits");
    require(queue_.empty() || !closed_, "somebody waits for a closed pool");
    require(!deadlocked(), "a deadlock was not broken");
    require(waiting() == 0 || size() == max_size_ || asked_in_vain_, "room that is not used");
    for (std::size_t i = 0; i < askers_.size(); ++i) {
        const Asker& asker = askers_[i];
        require((asker.is == Is::waiting) == (std::ranges::count(queue_, i) == 1), "the queue");
        if (asker.waiter && asker.is == Is::waiting)
            require(asker.waiter->state() == State::waiting, "somebody was answered, and not told");
    }
}

void World::answer(Waiter& waiter, const Event& event, std::optional<std::size_t>& free) {
    using enum Happening;
    const auto found = std::ranges::find_if(
        askers_, [&](const Asker& each) { return each.waiter.get() == &waiter; });
    const auto who = static_cast<std::size_t>(found - askers_.begin());
    require(askers_[who].is == Is::waiting, "somebody was answered who does not wait");
    if (waiter.state() == State::granted) {
        require(!closed_, "a closed pool lends none");
        require(free.has_value(), "a connection was granted that was not there");
        require(queue_.front() == who, "not the first in the queue was served");
        require(nodes_[*free].holder == askers_[who].holder.get(), "the holder");
        askers_[who].is = Is::granted;
        askers_[who].connection = *std::exchange(free, std::nullopt);
        std::erase(queue_, who);
        return;
    }
    switch (waiter.failure()) {
        case Failure::closed:
            require(closed_, "a pool that is open refuses nobody");
            break;
        case Failure::exhausted:
            require(event.what == asked && event.whom == who && waiting() > max_waiters_,
                    "exhausted without being so");
            break;
        case Failure::not_opened:
            require(queue_.front() == who, "not the first was failed by an opening");
            break;
        case Failure::deadlock:
            require(deadlocked(), "a deadlock that is none");
            require(newest_that_keeps_one() == who, "not the newest was refused");
            break;
    }
    askers_[who].is = Is::outside;
    std::erase(queue_, who);
}

void World::check_that_all_are_answered() {
    using enum Happening;
    while (!queue_.empty()) {
        std::optional<Event> next;
        for (std::size_t i = 0; i < askers_.size() && !next; ++i) {
            if (!has(askers_[i]) || somebody_waits_within(i)) continue;
            next = Event{askers_[i].is == Is::granted ? withdrawn : broken, i};
        }
        for (std::size_t c = 0; c < nodes_.size() && !next; ++c)
            if (cleaning_[c]) next = Event{not_cleaned, c};
        if (!next && warm_ups_ > 0) next = Event{given_up};
        if (!next && !openings_.empty()) next = Event{opening_failed};
        require(next.has_value(), "somebody waits for nothing");
        happens(*next);
    }
}

struct Exploration {
    std::size_t states = 0;
    std::string fault{};
};

/// Every state that any order of events leads to. A machine cannot be copied, so a state is reached
/// by repeating what led there.
Exploration explore(std::size_t connections, std::size_t max_waiters, const Nesting& nesting) {
    struct Reached {
        std::size_t from;
        World::Event by;
    };
    Exploration exploration;
    std::unordered_map<std::string, std::size_t> known;
    std::vector<Reached> reached;
    const auto path_to = [&](std::size_t state) {
        std::vector<World::Event> path;
        for (; state != 0; state = reached[state].from) path.push_back(reached[state].by);
        std::ranges::reverse(path);
        return path;
    };
    const auto at = [&](const std::vector<World::Event>& path) {
        auto world = std::make_unique<World>(connections, max_waiters, nesting);
        for (const auto& event : path) world->happens(event, false);
        return world;
    };
    known.emplace(at({})->key(), 0);
    reached.push_back({});
    std::vector<World::Event> path;
    try {
        for (std::size_t state = 0; state < reached.size(); ++state) {
            path = path_to(state);
            for (const auto& event : at(path)->possible()) {
                const auto world = at(path);
                path.push_back(event);
                world->happens(event);
                path.pop_back();
                if (!known.emplace(world->key(), reached.size()).second) continue;
                reached.push_back({state, event});
                world->check_that_all_are_answered();
            }
        }
    } catch (const std::logic_error& error) {
        exploration.fault = error.what();
        for (const auto& event : path) exploration.fault += World::word(event);
    }
    exploration.states = reached.size();
    return exploration;
}

}  // namespace

TEST_CASE("in every order of events a small pool keeps its word", "[pool_machine]") {
    const Nesting apart{{}, {}, {}, {}};
    const Nesting pairs{{}, {}, {0}, {1}};
    const Nesting chain{{}, {0}, {0, 1}, {0, 1, 2}};
    const Nesting branches{{}, {0}, {0}, {}};
    std::size_t states = 0;
    const auto check = [&](std::size_t connections, std::size_t max_waiters,
                           const Nesting& nesting) {
        const auto explored = explore(connections, max_waiters, nesting);
        CAPTURE(connections, max_waiters, explored.states);
        CHECK(explored.fault == "");
        states += explored.states;
    };
    for (std::size_t connections = 1; connections <= 3; ++connections) {
        for (const Nesting& nesting : {apart, pairs, chain}) check(connections, 4, nesting);
        if (connections == 3) continue;  // the same, but for time
        check(connections, 4, branches);
        for (const std::size_t max_waiters : {0u, 1u}) check(connections, max_waiters, apart);
    }
    CHECK(states > 1000);
}
