#include "support/catch.hpp"
#include <txscope/pool/detail/intrusive_list.hpp>

#include <vector>

namespace {

struct Number : txscope::detail::ListHook {
    explicit Number(int is) : value{is} {}
    int value;
};
using List = txscope::detail::IntrusiveList<Number>;

std::vector<int> values(const List& list) {
    std::vector<int> found;
    for (const Number& number : list) found.push_back(number.value);
    return found;
}

}  // namespace

TEST_CASE("a new list is empty", "[intrusive_list]") {
    const List list;
    CHECK(list.empty());
    CHECK(list.size() == 0);
    CHECK(values(list).empty());
}

TEST_CASE("elements come out at either end", "[intrusive_list]") {
    Number one{1};
    Number two{2};
    Number three{3};
    List list;
    for (Number* number : {&one, &two, &three}) list.push_back(*number);
    CHECK(values(list) == std::vector{1, 2, 3});
    CHECK(list.front().value == 1);
    CHECK(list.back().value == 3);
    CHECK(&list.pop_front() == &one);
    CHECK(&list.pop_back() == &three);
    CHECK(list.size() == 1);
    CHECK(&list.pop_back() == &two);
    CHECK(list.empty());
}

TEST_CASE("any element can be removed, and go into another list", "[intrusive_list]") {
    Number one{1};
    Number two{2};
    Number three{3};
    List list;
    for (Number* number : {&one, &two, &three}) list.push_back(*number);
    List other;
    list.remove(two);
    other.push_back(two);
    CHECK(values(list) == std::vector{1, 3});
    CHECK(values(other) == std::vector{2});
    list.remove(three);
    list.remove(one);
    CHECK(list.empty());
    list.push_back(one);
    CHECK(values(list) == std::vector{1});
}
