#pragma once

#include <txscope/postgres/statement.hpp>
#include <txscope/repository/detail/condition.hpp>
#include <txscope/repository/detail/expression.hpp>
#include <txscope/repository/detail/operand.hpp>
#include <txscope/repository/detail/sql_writer.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace txscope {

namespace detail {

/// Where the next `$` of a text is that is not in quotes; its end where there is none.
constexpr std::size_t find_place(std::string_view text, std::size_t from) {
    char quote = '\0';
    for (; from < text.size(); ++from) {
        const char c = text[from];
        if (quote != '\0')
            quote = c == quote ? '\0' : quote;
        else if (c == '\'' || c == '"')
            quote = c;
        else if (c == '$')
            break;
    }
    return from;
}

/// A constant of the program, in which so many values have their places.
template <std::size_t Values>
class RawText {
public:
    template <std::size_t Size>
    consteval RawText(const char (&text)[Size]) : text_{text, Size - 1} {
        std::size_t places = 0;
        for (auto at = find_place(text_, 0); at < text_.size(); at = find_place(text_, at + 1)) {
            ++places;
            const char next = text[at + 1];
            if ((next >= '0' && next <= '9') || next == '$' || next == '_')
                throw "txscope: in sql() the place of a value is a single $, without a number";
        }
        if (places != Values) throw "txscope: sql() takes one value for each $ of its text";
    }

    constexpr std::string_view text() const { return text_; }

private:
    std::string_view text_;
};

struct NoCondition {};

/// SQL of the program's own, in parentheses, with operands in its places.
template <typename T, typename... Operands>
class RawSql : public Expression<RawSql<T, Operands...>>,
               public std::conditional_t<std::same_as<T, bool>, Condition, NoCondition> {
public:
    using Value = std::optional<T>;
    static constexpr Precedence precedence = Precedence::primary;
    static constexpr bool fixed = false;
    template <typename Model>
    static constexpr bool applies_to = (Operands::template applies_to<Model> && ...);

    RawSql(std::string_view text, Operands... operands)
        : text_{text}, operands_{std::move(operands)...} {}

    template <typename Model>
    static constexpr void write(SqlWriter& out, const RawSql* self) {
        std::string_view rest = self->text_;
        out << "(";
        const auto write_up_to = [&](const auto& operand) {
            const std::size_t place = find_place(rest, 0);
            out << rest.substr(0, place);
            operand.template write<Model>(out, &operand);
            rest.remove_prefix(place + 1);
        };
        std::apply([&](const auto&... each) { (write_up_to(each), ...); }, self->operands_);
        out << rest << ")";
    }
    void bind(Statement& statement) const {
        std::apply([&](const auto&... each) { (each.bind(statement), ...); }, operands_);
    }

private:
    std::string_view text_;
    std::tuple<Operands...> operands_;
};

/// An expression as it is, a value as a parameter, which is a copy: a `Criteria` may outlive it.
template <typename Value>
auto raw_operand(const Value& value) {
    if constexpr (AnyExpression<Value>) {
        return value;
    } else if constexpr (std::convertible_to<const Value&, std::string_view>) {
        return Parameter<std::string>{keep_value<std::string>(value)};
    } else if constexpr (std::convertible_to<const Value&, std::span<const std::byte>>) {
        const std::span<const std::byte> bytes{value};
        return Parameter<std::vector<std::byte>>{{bytes.begin(), bytes.end()}};
    } else {
        static_assert(is_writable<Value>,
                      "txscope: no SQL text for this type: specialise txscope::SqlValue or "
                      "pqxx::string_traits for it; a character is a std::string");
        if constexpr (is_writable<Value>)
            return Parameter<Value>{value};
        else
            return Parameter<bool>{true};
    }
}

}  // namespace detail

/// SQL that the calls of this library have no word for: a condition, or, with the type that its value
/// is read as, what is compared and sorted by.
///
/// ```cpp
/// auto found = co_await users.find_all(sql("lower($) = $", field<&User::name>, name));
/// auto close = co_await users.find_all(sql<double>("$ <-> point($, $)", field<&User::home>, x, y) < 5,
///                                      ascending(sql<std::string>("lower(name)")));
/// ```
///
/// Each `$` that is not in quotes is the place of the next value, which is sent as a parameter, or of
/// the next `field<…>` or other expression, which is written there. The text has to be a constant of the
/// program, so nothing that a user sends becomes a part of it. It stands in parentheses. Where PostgreSQL
/// cannot tell a parameter's type, say it: `$::integer`.
template <typename T = bool, typename... Values>
auto sql(detail::RawText<sizeof...(Values)> text, const Values&... values) {
    return detail::RawSql<T, decltype(detail::raw_operand(values))...>{
        text.text(), detail::raw_operand(values)...};
}
/// Does not compile, and says why.
template <typename T = bool, std::convertible_to<std::string_view> Text, typename... Values>
    requires(!std::is_array_v<Text>)
auto sql(const Text&, const Values&...) {
    static_assert(
        detail::never<Text>,
        "txscope: the text of sql() is a constant of the program, so that nothing which a "
        "user sends becomes a part of it: values go behind it");
    return detail::RawSql<T>{{}};
}

}  // namespace txscope
