#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// Why one transaction comes before another in every serial order (Adya's direct conflicts).
enum class Dependency {
    write_write,  ///< The second wrote the version after the first's.
    write_read,   ///< The second read what the first wrote.
    read_write,   ///< The second wrote the version after the one that the first read.
};

/// Which transactions come before which, and the cycles in that.
class DependencyGraph {
public:
    explicit DependencyGraph(std::size_t transactions) : edges_(transactions) {}

    /// `why` is for the description of cycles. A transaction does not depend on itself.
    void add(std::size_t from, std::size_t to, Dependency kind, std::string why) {
        if (from != to) edges_[from].push_back({to, kind, std::move(why)});
    }

    /// Cycles of dependencies up to `kind`, with at least one of `kind` each. No transaction is in
    /// two of them.
    std::vector<std::string> find_cycles(Dependency kind) const;

private:
    struct Edge {
        std::size_t to;
        Dependency kind;
        std::string why;
    };
    using Alive = std::vector<bool>;
    using Path = std::vector<const Edge*>;

    static std::string name(std::size_t transaction) { return "T" + std::to_string(transaction); }
    static std::string describe(const Path& path) {
        constexpr const char* kinds[] = {"ww", "wr", "rw"};
        std::string text = name(path.back()->to);
        for (const Edge* edge : path)
            text += std::string{" -"} + kinds[static_cast<std::size_t>(edge->kind)] + " " +
                    edge->why + "-> " + name(edge->to);
        return text;
    }
    /// Calls `visit(from, edge)` for every dependency up to `kind` between those alive.
    template <typename Visit>
    void for_each(Dependency kind, const Alive& alive, Visit visit) const {
        for (std::size_t from = 0; from < edges_.size(); ++from)
            for (const Edge& edge : edges_[from])
                if (edge.kind <= kind && alive[from] && alive[edge.to]) visit(from, edge);
    }

    Alive behind_cycles(Dependency kind, Alive alive) const;
    Path find_cycle(Dependency kind, const Alive& alive) const;
    Path find_path(std::size_t from, std::size_t to, Dependency kind, const Alive& alive) const;

    std::vector<std::vector<Edge>> edges_;
};

inline std::vector<std::string> DependencyGraph::find_cycles(Dependency kind) const {
    std::vector<std::string> cycles;
    Alive alive(edges_.size(), true);
    while (true) {
        alive = behind_cycles(kind, std::move(alive));
        const Path cycle = find_cycle(kind, alive);
        if (cycle.empty()) return cycles;
        cycles.push_back(describe(cycle));
        for (const Edge* edge : cycle) alive[edge->to] = false;
    }
}

/// What is left when the transactions that depend on nothing are taken away one after another.
inline DependencyGraph::Alive DependencyGraph::behind_cycles(Dependency kind, Alive alive) const {
    std::vector<std::size_t> incoming(edges_.size());
    for_each(kind, alive, [&](std::size_t, const Edge& edge) { ++incoming[edge.to]; });
    std::vector<std::size_t> free;
    for (std::size_t id = 0; id < edges_.size(); ++id)
        if (alive[id] && incoming[id] == 0) free.push_back(id);
    while (!free.empty()) {
        const std::size_t id = free.back();
        free.pop_back();
        alive[id] = false;
        for (const Edge& edge : edges_[id])
            if (edge.kind <= kind && alive[edge.to] && --incoming[edge.to] == 0)
                free.push_back(edge.to);
    }
    return alive;
}

/// One with a dependency of `kind`; empty for none.
inline DependencyGraph::Path DependencyGraph::find_cycle(Dependency kind,
                                                         const Alive& alive) const {
    Path cycle;
    for_each(kind, alive, [&](std::size_t from, const Edge& edge) {
        if (!cycle.empty() || edge.kind != kind) return;
        cycle = find_path(edge.to, from, kind, alive);
        if (!cycle.empty()) cycle.insert(cycle.begin(), &edge);
    });
    return cycle;
}

/// The shortest; empty for none.
inline DependencyGraph::Path DependencyGraph::find_path(std::size_t from, std::size_t to,
                                                        Dependency kind, const Alive& alive) const {
    std::vector<std::pair<std::size_t, const Edge*>> came_by(edges_.size());
    std::deque<std::size_t> reached{from};
    while (!reached.empty()) {
        const std::size_t here = reached.front();
        reached.pop_front();
        for (const Edge& edge : edges_[here]) {
            if (edge.kind > kind || !alive[edge.to] || edge.to == from || came_by[edge.to].second)
                continue;
            came_by[edge.to] = {here, &edge};
            reached.push_back(edge.to);
        }
    }
    Path path;
    for (std::size_t here = to; came_by[here].second; here = came_by[here].first)
        path.insert(path.begin(), came_by[here].second);
    return path;
}

}  // namespace support
