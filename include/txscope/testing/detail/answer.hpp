#pragma once

#include <pqxx/except>

#include <exception>
#include <string>

namespace txscope::detail {

/// Whether `answer`, or what is nested inside, leaves it open what has happened.
inline bool is_in_doubt(const std::exception_ptr& answer) {
    if (!answer) return false;
    try {
        std::rethrow_exception(answer);
    } catch (const pqxx::in_doubt_error&) {
        return true;
    } catch (const std::nested_exception& error) {
        return is_in_doubt(error.nested_ptr());
    } catch (...) {
        return false;
    }
}

/// What the caller of a scope was told, in words.
inline std::string answer_text(const std::exception_ptr& answer) {
    if (!answer) return "of success";
    try {
        std::rethrow_exception(answer);
    } catch (const std::exception& error) {
        return std::string{"of a failure ("} + error.what() + ")";
    } catch (...) {
        return "of a failure";
    }
}

}  // namespace txscope::detail
