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

    /// A cycle of dependencies up to `kind`, with at least one of `kind`; empty for none.
    std::string find_cycle(Dependency kind) const;

private:
    struct Edge {
        std::size_t to;
        Dependency kind;
        std::string why;
    };
    using Alive = std::vector<bool>;

    static std::string name(std::size_t transaction) { return "T" + std::to_string(transaction); }
    static std::string describe(const Edge& edge) {
        constexpr const char* kinds[] = {"ww", "wr", "rw"};
        return std::string{" -"} + kinds[static_cast<std::size_t>(edge.kind)] + " " + edge.why +
               "-> " + name(edge.to);
    }
    /// Calls `visit(from, edge)` for every dependency up to `kind` between those alive.
    template <typename Visit>
    void for_each(Dependency kind, const Alive& alive, Visit visit) const {
        for (std::size_t from = 0; from < edges_.size(); ++from)
            for (const Edge& edge : edges_[from])
                if (edge.kind <= kind && alive[from] && alive[edge.to]) visit(from, edge);
    }

    Alive behind_cycles(Dependency kind) const;
    std::string find_path(std::size_t from, std::size_t to, Dependency kind,
                          const Alive& alive) const;

    std::vector<std::vector<Edge>> edges_;
};

inline std::string DependencyGraph::find_cycle(Dependency kind) const {
    const Alive alive = behind_cycles(kind);
    std::string cycle;
    for_each(kind, alive, [&](std::size_t from, const Edge& edge) {
        if (!cycle.empty() || edge.kind != kind) return;
        const std::string back = find_path(edge.to, from, kind, alive);
        if (!back.empty()) cycle = name(from) + describe(edge) + back;
    });
    return cycle;
}

/// What is left when the transactions that depend on nothing are taken away one after another.
inline DependencyGraph::Alive DependencyGraph::behind_cycles(Dependency kind) const {
    Alive alive(edges_.size(), true);
    std::vector<std::size_t> incoming(edges_.size());
    for_each(kind, alive, [&](std::size_t, const Edge& edge) { ++incoming[edge.to]; });
    std::vector<std::size_t> free;
    for (std::size_t id = 0; id < edges_.size(); ++id)
        if (incoming[id] == 0) free.push_back(id);
    while (!free.empty()) {
        const std::size_t id = free.back();
        free.pop_back();
        alive[id] = false;
        for (const Edge& edge : edges_[id])
            if (edge.kind <= kind && --incoming[edge.to] == 0) free.push_back(edge.to);
    }
    return alive;
}

/// The shortest way, without its start; empty for none.
inline std::string DependencyGraph::find_path(std::size_t from, std::size_t to, Dependency kind,
                                              const Alive& alive) const {
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
    std::string path;
    for (std::size_t here = to; came_by[here].second; here = came_by[here].first)
        path.insert(0, describe(*came_by[here].second));
    return path;
}

}  // namespace support
