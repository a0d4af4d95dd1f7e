#pragma once

#include <cstddef>
#include <iterator>
#include <utility>

namespace txscope::detail {

/// Walks a range that makes its elements on access (`range[index]`). Holds a copy of the range,
/// a handle, so that the rows outlive a range that was a temporary.
template <class Range>
class ResultIterator {
public:
    using iterator_concept = std::forward_iterator_tag;
    using iterator_category = std::input_iterator_tag;  // elements are values, not references
    using difference_type = std::ptrdiff_t;
    using value_type = decltype(std::declval<const Range&>()[std::size_t{0}]);
    using reference = value_type;
    using pointer = void;

    ResultIterator() = default;
    ResultIterator(Range range, std::size_t index) noexcept
        : range_(std::move(range)), index_(index) {}

    [[nodiscard]] value_type operator*() const { return range_[index_]; }
    ResultIterator& operator++() noexcept {
        ++index_;
        return *this;
    }
    ResultIterator operator++(int) noexcept {
        ResultIterator before = *this;
        ++index_;
        return before;
    }
    /// Of two iterators into the same result.
    [[nodiscard]] friend bool operator==(const ResultIterator& a,
                                         const ResultIterator& b) noexcept {
        return a.index_ == b.index_;
    }

private:
    Range range_;
    std::size_t index_ = 0;
};

}  // namespace txscope::detail
