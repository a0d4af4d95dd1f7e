#pragma once

#include <txscope/postgres/result.hpp>
#include <txscope/postgres/row_mapping.hpp>
#include <txscope/postgres/statement.hpp>
#include <txscope/protocol/result_block.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

namespace txscope::detail {

/// The rows of a statement as structs: of a long result all but the last are read while the server
/// sends the next ones.
template <Described T>
class CollectedRows : public protocol::Collected {
public:
    /// Has the rows of `statement` so collected; `take` then takes them.
    static void collect(Statement& statement) noexcept { statement.collect_by(&collector); }

    /// All rows of a statement that was to collect them.
    /// @throws ColumnError as `Result::as` does
    [[nodiscard]] static std::vector<T> take(const Result& result) {
        auto* const collected = static_cast<CollectedRows*>(result.block().collected());
        if (collected == nullptr) return result.as<T>();
        if (collected->error_) std::rethrow_exception(collected->error_);
        collected->read(result.block());
        return std::move(collected->objects_);
    }

private:
    static void add(std::unique_ptr<protocol::Collected>& collected,
                    const protocol::ResultBlock& part) {
        if (collected == nullptr) collected.reset(new CollectedRows);
        auto& rows = static_cast<CollectedRows&>(*collected);
        if (rows.error_) return;
        try {
            rows.read(part);
        } catch (...) {  // is told once the statement is executed, as of any other result
            rows.error_ = std::current_exception();
            rows.objects_.clear();
        }
    }
    static bool reads_binary(const protocol::Column& column) {
        bool binary = false;
        for_each_member<T>([&]<typename Member>(Member member) {
            constexpr auto type = binary_type<without_optional<struct_member_type<T, Member>>>;
            if constexpr (type != 0) binary |= type == column.type && member.name == column.name;
        });
        return binary;
    }
    static constexpr protocol::Collector collector{&add, &reads_binary};

    void read(const protocol::ResultBlock& part) {
        // More than twice as many: the system gives memory when it is used, so that room for more costs
        // little, and what is moved takes as much again.
        if (objects_.capacity() - objects_.size() < part.size())
            objects_.reserve(4 * objects_.size() + part.size());
        const RowMapping<T> mapping{part};
        for (std::size_t row = 0; row < part.size(); ++row)
            mapping.read(row, objects_.emplace_back());
    }

    std::vector<T> objects_;
    std::exception_ptr error_;
};

}  // namespace txscope::detail
