#pragma once

#include <txscope/postgres/detail/collected_rows.hpp>
#include <txscope/postgres/result.hpp>
#include <txscope/repository/criteria.hpp>
#include <txscope/repository/detail/keys.hpp>

#include <cstdint>
#include <utility>
#include <vector>

/// What the rows of a statement are told as, where that is no vector of them.
namespace txscope::detail {

/// One more of them than the page has says that there are more behind.
template <typename Model>
struct TakePage {
    using Answer = PageOf<Model>;
    std::int64_t limit;

    Answer answer(std::vector<Model> rows) const {
        Answer page{std::move(rows)};
        page.more = std::cmp_greater(page.rows.size(), limit);
        if (page.more) page.rows.pop_back();
        return page;
    }
    Answer operator()(const Result& result) const {
        return answer(CollectedRows<Model>::take(result));
    }
};

template <auto Member, typename Model>
struct TakeGroups {
    using Answer = Groups<Member, Model>;
    Answer groups;  ///< One for each value, empty.

    Answer answer(std::vector<Model> rows) {
        for (Model& row : rows) {
            auto& group = group_of<Member>(groups, row);
            group.push_back(std::move(row));
        }
        return std::move(groups);
    }
    Answer operator()(const Result& result) { return answer(CollectedRows<Model>::take(result)); }
};

}  // namespace txscope::detail
