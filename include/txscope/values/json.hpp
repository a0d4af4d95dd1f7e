#pragma once

#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/system/error_code.hpp>
#include <boost/version.hpp>

#include <string>
#include <string_view>

namespace txscope {

/// `json` and `jsonb` as Boost.JSON's value. A program links Boost.JSON, or includes
/// `<boost/json/src.hpp>` in one of its source files.
///
/// ```cpp
/// struct Event { std::int64_t id{}; boost::json::value payload; };
/// ```
///
/// JSON's `null` is a value; SQL's NULL is an empty `std::optional<boost::json::value>`. A number without
/// a fraction comes back from `jsonb` as an integer, and before Boost 1.85 one with more than 15 digits
/// may come back rounded: for amounts, read the text or use `Decimal`.
template <>
struct SqlValue<boost::json::value> {
    static constexpr bool is_json = true;
    static constexpr std::string_view type_names[] = {"json", "jsonb"};

    static std::string to_text(const boost::json::value& value) {
        return boost::json::serialize(value);
    }

    static boost::json::value from_text(std::string_view text) {
        boost::json::parse_options options;
        options.max_depth = 6400;  // deeper than PostgreSQL's stack takes by default
#if BOOST_VERSION >= 108500
        options.numbers = boost::json::number_precision::precise;
#endif
        boost::system::error_code error;
        boost::json::value value = boost::json::parse(text, error, {}, options);
        if (error) throw ValueError("the text is not JSON");
        return value;
    }
};

}  // namespace txscope
