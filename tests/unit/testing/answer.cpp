#include "support/catch.hpp"
#include <txscope/core/error.hpp>
#include <txscope/testing/detail/answer.hpp>

#include <exception>
#include <stdexcept>

using txscope::detail::answer_text;
using txscope::detail::is_in_doubt;

TEST_CASE("an answer leaves the outcome open where a doubt is nested in it, however deep",
          "[answer]") {
    const auto doubt = std::make_exception_ptr(txscope::CommitInDoubt{"lost"});
    const auto wrapped = txscope::nest(doubt, std::runtime_error{"the service failed"});
    CHECK(is_in_doubt(doubt));
    CHECK(is_in_doubt(wrapped));
    CHECK(is_in_doubt(txscope::nest(wrapped, std::runtime_error{"the request failed"})));
    CHECK_FALSE(is_in_doubt(nullptr));
    CHECK_FALSE(is_in_doubt(std::make_exception_ptr(42)));
    CHECK_FALSE(is_in_doubt(std::make_exception_ptr(std::runtime_error{"plain"})));
    CHECK_FALSE(is_in_doubt(txscope::nest(std::make_exception_ptr(std::runtime_error{"plain"}),
                                          std::runtime_error{"the service failed"})));
}

TEST_CASE("an answer is told in words", "[answer]") {
    CHECK(answer_text(nullptr) == "of success");
    CHECK(answer_text(std::make_exception_ptr(std::runtime_error{"why"})) == "of a failure (why)");
    CHECK(answer_text(std::make_exception_ptr(42)) == "of a failure");
}
