#include "support/catch.hpp"
#include "support/growth.hpp"
#include <txscope/core/error.hpp>
#include <txscope/core/sqlstate.hpp>
#include <txscope/postgres/detail/diagnostics.hpp>

#include <libpq-fe.h>

#include <array>
#include <exception>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using txscope::SqlDiagnostics;
using txscope::SqlError;

namespace {

SqlDiagnostics duplicate_name() {
    SqlDiagnostics diagnostics;
    diagnostics.severity = "ERROR";
    diagnostics.sqlstate = "23505";
    diagnostics.message = "duplicate key value violates unique constraint \"projects_name_key\"";
    diagnostics.detail = "Key (name)=(secret) already exists.";
    diagnostics.hint = "a hint about secret";
    diagnostics.context = "unnamed portal parameter $1 = 'secret'";
    diagnostics.schema = "public";
    diagnostics.table = "projects";
    diagnostics.constraint = "projects_name_key";
    diagnostics.statement = "INSERT INTO projects (name) VALUES ($1)";
    return diagnostics;
}

SqlDiagnostics failure(std::string_view sqlstate, std::string_view message = "it failed",
                       std::string_view severity = "ERROR") {
    SqlDiagnostics diagnostics;
    diagnostics.severity = severity;
    diagnostics.sqlstate = sqlstate;
    diagnostics.message = message;
    diagnostics.statement = "SELECT name FROM projects WHERE id = $1";
    return diagnostics;
}

/// What a failed statement's `what()` says when it was sent with `parameters`.
std::string text_of(const SqlDiagnostics& diagnostics,
                    const std::vector<std::string_view>& parameters = {}) {
    try {
        std::rethrow_exception(txscope::make_sql_error(diagnostics, parameters));
    } catch (const SqlError& error) {
        return error.what();
    }
}

template <class Expected>
bool is_caught_as(std::string_view sqlstate, std::string_view severity = "ERROR") {
    try {
        std::rethrow_exception(txscope::make_sql_error(failure(sqlstate, "it failed", severity)));
    } catch (const Expected& error) {
        const auto* sql = dynamic_cast<const SqlError*>(&error);
        return sql != nullptr && sql->sqlstate() == sqlstate &&
               std::string(sql->what()) == error.what();
    } catch (...) {
        return false;
    }
}

}  // namespace

TEST_CASE("a failed statement is libpqxx's class for its SQLSTATE", "[error]") {
    CHECK(is_caught_as<pqxx::broken_connection>("08006"));
    CHECK(is_caught_as<pqxx::feature_not_supported>("0A000"));
    CHECK(is_caught_as<pqxx::insufficient_privilege>("0P000"));
    CHECK(is_caught_as<pqxx::data_exception>("22P02"));
    CHECK(is_caught_as<pqxx::restrict_violation>("23001"));
    CHECK(is_caught_as<pqxx::not_null_violation>("23502"));
    CHECK(is_caught_as<pqxx::foreign_key_violation>("23503"));
    CHECK(is_caught_as<pqxx::unique_violation>("23505"));
    CHECK(is_caught_as<pqxx::check_violation>("23514"));
    CHECK(is_caught_as<pqxx::integrity_constraint_violation>("23P01"));
    CHECK(is_caught_as<pqxx::invalid_cursor_state>("24000"));
    CHECK(is_caught_as<pqxx::invalid_sql_statement_name>("26000"));
    CHECK(is_caught_as<pqxx::invalid_cursor_name>("34000"));
    CHECK(is_caught_as<pqxx::transaction_rollback>("40000"));
    CHECK(is_caught_as<pqxx::serialization_failure>("40001"));
    CHECK(is_caught_as<pqxx::statement_completion_unknown>("40003"));
    CHECK(is_caught_as<pqxx::deadlock_detected>("40P01"));
    CHECK(is_caught_as<pqxx::insufficient_privilege>("42501"));
    CHECK(is_caught_as<pqxx::syntax_error>("42601"));
    CHECK(is_caught_as<pqxx::undefined_column>("42703"));
    CHECK(is_caught_as<pqxx::undefined_function>("42883"));
    CHECK(is_caught_as<pqxx::undefined_table>("42P01"));
    CHECK(is_caught_as<pqxx::disk_full>("53100"));
    CHECK(is_caught_as<pqxx::insufficient_resources>("53200"));
    CHECK(is_caught_as<pqxx::too_many_connections>("53300"));
    CHECK(is_caught_as<pqxx::insufficient_resources>("53400"));
    CHECK(is_caught_as<pqxx::plpgsql_raise>("P0001"));
    CHECK(is_caught_as<pqxx::plpgsql_no_data_found>("P0002"));
    CHECK(is_caught_as<pqxx::plpgsql_too_many_rows>("P0003"));
    CHECK(is_caught_as<pqxx::plpgsql_error>("P0004"));
}

TEST_CASE("a failed statement is also whatever its class derives from", "[error]") {
    CHECK(is_caught_as<pqxx::integrity_constraint_violation>("23505"));
    CHECK(is_caught_as<pqxx::sql_error>("23505"));
    CHECK(is_caught_as<pqxx::failure>("23505"));
    CHECK(is_caught_as<std::exception>("23505"));
    CHECK(is_caught_as<pqxx::transaction_rollback>("40P01"));
    CHECK(is_caught_as<pqxx::transaction_rollback>("40002"));
}

TEST_CASE("a SQLSTATE without a class of its own is a sql_error", "[error]") {
    CHECK(is_caught_as<pqxx::sql_error>("57014"));
    CHECK(is_caught_as<pqxx::sql_error>("25P02"));
    CHECK(is_caught_as<pqxx::sql_error>("42P05"));
    CHECK(is_caught_as<pqxx::sql_error>("ZZ999"));
    CHECK_FALSE(is_caught_as<pqxx::broken_connection>("57014"));
    CHECK_FALSE(is_caught_as<pqxx::broken_connection>("57P01"));  // another server's
}

TEST_CASE("an error that ends the session is a lost connection", "[error]") {
    CHECK(is_caught_as<txscope::ConnectionLost>("57P01", "FATAL"));
    CHECK(is_caught_as<txscope::ConnectionLost>("25P03", "FATAL"));
    CHECK(is_caught_as<txscope::ConnectionLost>("08P01", "FATAL"));
    CHECK_FALSE(is_caught_as<txscope::ConnectionLost>("08P01", "ERROR"));
    CHECK(is_caught_as<txscope::ConnectionLost>("XX000", "PANIC"));
    CHECK(is_caught_as<txscope::ConnectionLost>("", ""));
    CHECK(is_caught_as<pqxx::broken_connection>("57P01", "FATAL"));

    // A foreign server's lost connection is not ours.
    CHECK(is_caught_as<pqxx::broken_connection>("08001"));
    CHECK_FALSE(is_caught_as<txscope::ConnectionLost>("08001"));
    // Nor is a session that lost a conflict with recovery any less worth another try.
    CHECK(is_caught_as<pqxx::serialization_failure>("40001", "FATAL"));
}

TEST_CASE("libpqxx's side knows the statement and the SQLSTATE", "[error]") {
    try {
        std::rethrow_exception(txscope::make_sql_error(duplicate_name()));
    } catch (const pqxx::sql_error& error) {
        CHECK(std::string(error.query()) == "INSERT INTO projects (name) VALUES ($1)");
        CHECK(std::string(error.sqlstate()) == "23505");
    }
}

TEST_CASE("our side knows every field that the server sent", "[error]") {
    try {
        std::rethrow_exception(txscope::make_sql_error(duplicate_name()));
    } catch (const SqlError& error) {
        CHECK(error.sqlstate() == txscope::sqlstate::unique_violation);
        CHECK(error.constraint() == "projects_name_key");
        CHECK(error.table() == "projects");
        CHECK(error.column().empty());
        CHECK(error.statement() == "INSERT INTO projects (name) VALUES ($1)");
        CHECK(error.diagnostics().schema == "public");
        CHECK(error.diagnostics().detail == "Key (name)=(secret) already exists.");
        CHECK(error.diagnostics().message == duplicate_name().message);
        CHECK(dynamic_cast<const pqxx::unique_violation*>(&error) != nullptr);
    }
}

TEST_CASE("a syntax error knows its place", "[error]") {
    SqlDiagnostics diagnostics = failure("42601", "syntax error at or near \"FORM\"");
    diagnostics.position = 13;
    CHECK_THAT(text_of(diagnostics), ContainsSubstring("at character 13"));
}

TEST_CASE("the text tells the whole story but for the values", "[error]") {
    const std::string text = text_of(duplicate_name(), {"secret"});
    CHECK(text ==
          "duplicate key value violates unique constraint \"projects_name_key\" (SQLSTATE 23505, "
          "constraint projects_name_key, table projects, schema public) in: INSERT INTO projects "
          "(name) VALUES ($1)");
}

TEST_CASE("messages that quote the input lose what they quote", "[error]") {
    struct Case {
        std::string_view sqlstate;
        std::string_view message;
        std::string_view shown;
    };
    // Messages of PostgreSQL 15, and translations of them.
    const auto [sqlstate, message, shown] = GENERATE(values<Case>({
        {"22P02", "invalid input syntax for type integer: \"secret\"",
         "invalid input syntax for type integer: \"…\""},
        {"22P02", "invalid input syntax for type integer: \"se\"cr\"et\"",
         "invalid input syntax for type integer: \"…\""},
        {"22003", "value \"99999999999\" is out of range for type integer",
         "value \"…\" is out of range for type integer"},
        {"22021", "invalid byte sequence for encoding \"UTF8\": 0xe4 0x73",
         "invalid byte sequence for encoding \"…\": … …"},
        {"22008", "date field value out of range: 2024-13-45", "date field value out of range: …"},
        {"22008", "time field value out of range: 25:01:99.5", "time field value out of range: …"},
        {"22007", "invalid value \"se\" for \"YYYY\"", "invalid value \"…\""},
        {"22001", "value too long for type character varying(5)",
         "value too long for type character varying(5)"},
        {"22P02", "ungültige Eingabesyntax für Typ integer: »secret«",
         "ungültige Eingabesyntax für Typ integer: »…«"},
        {"22P02", "syntaxe en entrée invalide pour le type integer : « secret »",
         "syntaxe en entrée invalide pour le type integer : «…»"},
        {"22P02", "cut off: \"secre", "cut off: \"…"},
        {"22012", "division by zero", "division by zero"},
    }));
    INFO(message);
    CHECK(text_of(failure(sqlstate, message)) ==
          std::string(shown) + " (SQLSTATE " + std::string(sqlstate) +
              ") in: SELECT name FROM projects WHERE id = $1");
}

TEST_CASE("a parameter's text is blotted out of any message", "[error]") {
    struct Case {
        std::string_view message;
        std::string_view parameter;
        std::string_view shown;
    };
    const auto [message, parameter, shown] = GENERATE(values<Case>({
        {"name bob is taken", "bob", "name … is taken"},
        {"name BOB is taken", "bob", "name … is taken"},
        {"bob's name, bob, is taken", "bob", "…'s name, …, is taken"},
        {"prefix_secret_suffix", "secret", "prefix_…_suffix"},
        {"role \"no\"body\" does not exist", "No\"Body", "role \"…\" does not exist"},
        {"requested character too large for encoding: 99999999", "99999999",
         "requested character too large for encoding: …"},
        // Parts of a value that the server took for a name:
        {"schema \"sch\" does not exist", "sch.tab", "schema \"…\" does not exist"},
        {"relation \"secret_table\" does not exist", "Secret_Table",
         "relation \"…\" does not exist"},
        {"relation \"a_very_long_name\" does not exist", "a_very_long_name_and_more",
         "relation \"…\" does not exist"},
        // Quoted names, which the server shows as what they name:
        {"relation \"top\"secret99\" does not exist", "\"top\"\"secret99\"",
         "relation \"…\" does not exist"},
        {"relation \"Top.\"secret99\" does not exist", "\"Top\".\"\"\"secret99\"",
         "relation \"…\" does not exist"},
        {"relation \"jane \"Jo\" doe, born\" does not exist",
         "Jane \"\"Jo\"\" Doe, born in a year that was cut off", "relation \"…\" does not exist"},
        {"relation \"projects\" does not exist", "{\"name\": \"bob\"}",
         "relation \"projects\" does not exist"},
        // What the statement says itself is no secret:
        {"relation \"projects\" does not exist", "projects of bob",
         "relation \"projects\" does not exist"},
        // A short value counts as a word only, and one of signs alone not at all:
        {"1st: varying(1) is not $1, x1 or 1", "1", "1st: varying(…) is not $1, x1 or …"},
        {"it failed, badly", ",", "it failed, badly"},
        {"it failed", "", "it failed"},
        {"bob", "bob", "…"},
    }));
    INFO(message << " / " << parameter);
    CHECK(text_of(failure("P0001", message), {parameter}) ==
          std::string(shown) + " (SQLSTATE P0001) in: SELECT name FROM projects WHERE id = $1");
}

TEST_CASE("one end of a session has one text, whatever the parameters were", "[error]") {
    const std::vector<std::string_view> parameters{"0", "1", "to", "connection", "command"};
    for (const auto& [sqlstate, severity, message] :
         {std::array{"", "", "connection to server at \"127.0.0.1\", port 1 failed: closed"},
          std::array{"57P01", "FATAL", "terminating connection due to administrator command"}}) {
        const auto ended = failure(sqlstate, message, severity);
        CHECK(text_of(ended, parameters) == text_of(ended));
        CHECK_THAT(text_of(ended), StartsWith(message));
    }
    // A function of the user's may end it too.
    SqlDiagnostics own = failure("57P01", "the secret is out", "FATAL");
    own.context = "PL/Python function \"give_up\"";
    CHECK_THAT(text_of(own, {"secret"}), StartsWith("the … is out"));
}

TEST_CASE("the time to make an error grows with the statement and its parameters, not faster",
          "[error]") {
    const auto make = [](std::size_t parameters) {
        SqlDiagnostics diagnostics = duplicate_name();
        diagnostics.statement.append(parameters * 300, '?');
        std::vector<std::string> values;
        for (std::size_t i = 0; i < parameters; ++i)
            values.push_back("value number " + std::to_string(i));
        CHECK_THAT(text_of(diagnostics, {values.begin(), values.end()}),
                   ContainsSubstring("\"projects_name_key\""));
    };
    CHECK(support::growth(65535, make) < 24);  // as many as there can be
}

TEST_CASE("of two parameters that overlap in a message nothing stays", "[error]") {
    for (const auto& parameters : {std::vector<std::string_view>{"bob", "bob@example.com"},
                                   std::vector<std::string_view>{"bob@example.com", "bob"}}) {
        CHECK_THAT(text_of(failure("P0001", "bob@example.com is taken"), parameters),
                   ContainsSubstring("… is taken") && !ContainsSubstring("example"));
    }
}

TEST_CASE("a name that a function raised with a parameter's text is not shown", "[error]") {
    SqlDiagnostics diagnostics = failure("23514");
    diagnostics.table = "secret";
    diagnostics.constraint = "limit";
    CHECK_THAT(text_of(diagnostics, {"secret"}),
               ContainsSubstring("constraint limit") && !ContainsSubstring("secret"));
}

TEST_CASE("the unabridged message stays in the diagnostics", "[error]") {
    try {
        std::rethrow_exception(
            txscope::make_sql_error(failure("22P02", "invalid input: \"secret\"")));
    } catch (const SqlError& error) {
        CHECK(error.diagnostics().message == "invalid input: \"secret\"");
    }
}

TEST_CASE("a very long statement is cut short in the text, between characters", "[error]") {
    SqlDiagnostics diagnostics = failure("42601");
    diagnostics.statement = "SELECT '";
    while (diagnostics.statement.size() < 5000) diagnostics.statement += "ü";
    const std::string text = text_of(diagnostics);
    CHECK(text.size() < 1100);
    CHECK(text.ends_with("ü…"));
    try {
        std::rethrow_exception(txscope::make_sql_error(diagnostics));
    } catch (const SqlError& error) {
        CHECK(error.statement() == diagnostics.statement);
    }
}

TEST_CASE("copies of an exception say the same", "[error]") {
    try {
        std::rethrow_exception(txscope::make_sql_error(duplicate_name()));
    } catch (const pqxx::unique_violation& error) {
        const pqxx::unique_violation copy = error;
        CHECK(std::string(copy.what()) == error.what());
    }
}

TEST_CASE("an error without a message says so", "[error]") {
    const auto error = txscope::protocol::ErrorResponse::parse({"\0", 1});
    try {
        std::rethrow_exception(
            txscope::detail::make_statement_error(*error, txscope::Statement{"SELECT $1", 1}));
    } catch (const SqlError& thrown) {
        CHECK(std::string(thrown.what()) == "the server gave no reason in: SELECT $1");
    }
}

TEST_CASE("a nested error is the outer one, with its cause inside", "[error]") {
    const std::exception_ptr cause = txscope::make_sql_error(duplicate_name());
    const std::exception_ptr error =
        txscope::nest(cause, txscope::UnexpectedRollback{"the server rolled back"});
    try {
        std::rethrow_exception(error);
    } catch (const txscope::UnexpectedRollback& outer) {
        CHECK(std::string(outer.what()) == "the server rolled back");
        CHECK_THROWS_AS(std::rethrow_if_nested(outer), pqxx::unique_violation);
    }
    CHECK_THROWS_AS(std::rethrow_exception(error), pqxx::failure);
}

TEST_CASE("a cause need not be a std::exception, and need not be there", "[error]") {
    try {
        std::rethrow_exception(txscope::nest(std::make_exception_ptr(42),
                                             txscope::TransactionAborted{"an earlier failure"}));
    } catch (const txscope::TransactionAborted& outer) {
        CHECK_THROWS_AS(std::rethrow_if_nested(outer), int);
    }
    try {
        std::rethrow_exception(txscope::nest(nullptr, txscope::PoolClosed{"closed"}));
    } catch (const txscope::PoolClosed& outer) {
        CHECK_NOTHROW(std::rethrow_if_nested(outer));
    }
}

TEST_CASE("what the server said is found however deep it is nested", "[error]") {
    const auto aborted = txscope::nest(txscope::make_sql_error(duplicate_name()),
                                       txscope::TransactionAborted{"an earlier failure"});
    const auto wrapped = txscope::nest(aborted, std::runtime_error{"the program's own"});
    try {
        std::rethrow_exception(wrapped);
    } catch (const std::exception& error) {
        const SqlDiagnostics* found = txscope::find_diagnostics(error);
        REQUIRE(found != nullptr);
        CHECK(found->constraint == "projects_name_key");
    }
    CHECK(txscope::find_diagnostics(std::runtime_error{"unrelated"}) == nullptr);
    CHECK(txscope::find_diagnostics(txscope::PoolClosed{"closed"}) == nullptr);
}

TEMPLATE_TEST_CASE("an error says where the scope was opened that it is about", "[error]",
                   txscope::UnexpectedRollback, txscope::TransactionAborted, txscope::ScopeEnded,
                   txscope::PropagationError, txscope::TransactionTimeout, txscope::UnfinishedWork,
                   txscope::CommitInDoubt, txscope::ConnectionLost, txscope::ConnectionFailed,
                   txscope::AcquireTimeout, txscope::PoolExhausted, txscope::PoolClosed) {
    const auto here = std::source_location::current();
    const TestType error{"it failed", here};
    CHECK_THAT(error.what(), ContainsSubstring("it failed [scope opened at ") &&
                                 ContainsSubstring("error.cpp:" + std::to_string(here.line())));
    REQUIRE(error.scope_location().has_value());
    CHECK(error.scope_location()->line() == here.line());

    CHECK(error.message() == "it failed");

    CHECK(std::string(TestType{"it failed"}.what()) == "it failed");
    CHECK(TestType{"it failed"}.message() == "it failed");
    CHECK_FALSE(TestType{"it failed"}.scope_location().has_value());
}

TEST_CASE("every error of ours can be caught as one, with its plain parts", "[error]") {
    const auto here = std::source_location::current();
    SqlDiagnostics duplicate = duplicate_name();
    duplicate.message += " by secret";
    duplicate.scope = here;
    SqlDiagnostics loss = failure("57P01", "terminating connection", "FATAL");
    const std::vector<std::string_view> parameters{"secret"};
    using Reason = txscope::ColumnError::Reason;
    const auto in_scope = [&]<class E>(std::type_identity<E>) {
        return std::make_exception_ptr(E{"it failed", here});
    };
    struct Case {
        std::exception_ptr error;
        std::string message;
        bool has_scope;
    };
    for (const auto& [error, message, has_scope] : std::vector<Case>{
             {txscope::make_sql_error(duplicate, parameters),
              "duplicate key value violates unique constraint \"projects_name_key\" by …", true},
             {txscope::make_sql_error(loss), "terminating connection", false},
             {txscope::detail::met_in_scope(txscope::make_sql_error(loss), here),
              "terminating connection", true},
             {txscope::detail::met_in_scope(
                  std::make_exception_ptr(txscope::ConnectionLost{"it failed"}), here),
              "it failed", true},
             {in_scope(std::type_identity<txscope::TransactionTimeout>{}), "it failed", true},
             {in_scope(std::type_identity<txscope::CommitInDoubt>{}), "it failed", true},
             {in_scope(std::type_identity<txscope::ConnectionFailed>{}), "it failed", true},
             {in_scope(std::type_identity<txscope::AcquireTimeout>{}), "it failed", true},
             {std::make_exception_ptr(txscope::PoolDeadlock{"it failed", {here, here}, here}),
              "it failed", true},
             {txscope::nest(std::make_exception_ptr(42), txscope::TransactionAborted{"no", here}),
              "no", true},
             {std::make_exception_ptr(txscope::ValueError{"no number"}), "no number", false},
             {std::make_exception_ptr(
                  txscope::ColumnError{Reason::wrong_type, "name", 0, "no number"}),
              "no number", false},
             {std::make_exception_ptr(txscope::NotFound{"\"projects\""}),
              "there is no such row in \"projects\"", false}}) {
        CAPTURE(message);
        try {
            std::rethrow_exception(error);
        } catch (const txscope::Error& ours) {
            CHECK(ours.message() == message);
            CHECK_THAT(ours.what(), StartsWith(message));
            CHECK((std::string(ours.what()).find("error.cpp") != std::string::npos) == has_scope);
            REQUIRE(ours.scope_location().has_value() == has_scope);
            if (has_scope) CHECK(ours.scope_location()->line() == here.line());
            // The text of the libpqxx side is the same.
            const auto* theirs = dynamic_cast<const std::exception*>(&ours);
            REQUIRE(theirs != nullptr);
            CHECK(std::string(theirs->what()) == ours.what());
        }
    }
}

TEST_CASE("a pool's deadlock names the scopes", "[error]") {
    const auto first = std::source_location::current();
    const auto second = std::source_location::current();
    const auto third = std::source_location::current();
    const txscope::PoolDeadlock error{"every connection waits", {first, second}, third};
    CHECK_THAT(error.what(),
               ContainsSubstring("error.cpp:" + std::to_string(first.line()) + ", ") &&
                   ContainsSubstring("error.cpp:" + std::to_string(second.line()) + "]") &&
                   ContainsSubstring("error.cpp:" + std::to_string(third.line()) + "]"));
    CHECK(error.scope_locations().size() == 2);
    CHECK(std::string(txscope::PoolDeadlock{"every connection waits"}.what()) ==
          "every connection waits");
}

TEST_CASE("every error of ours is one of libpqxx's", "[error]") {
    using namespace txscope;
    STATIC_REQUIRE(std::is_base_of_v<pqxx::failure, TransactionError>);
    STATIC_REQUIRE(std::is_base_of_v<pqxx::in_doubt_error, CommitInDoubt>);
    STATIC_REQUIRE(std::is_base_of_v<pqxx::broken_connection, ConnectionLost>);
    STATIC_REQUIRE(std::is_base_of_v<pqxx::broken_connection, ConnectionFailed>);
    STATIC_REQUIRE(std::is_base_of_v<pqxx::failure, PoolError>);
    STATIC_REQUIRE(std::is_base_of_v<PoolError, AcquireTimeout>);
    STATIC_REQUIRE(std::is_base_of_v<PoolError, PoolExhausted>);
    STATIC_REQUIRE(std::is_base_of_v<pqxx::conversion_error, ColumnError>);
    STATIC_REQUIRE(std::is_base_of_v<pqxx::conversion_error, ValueError>);
}
