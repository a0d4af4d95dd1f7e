// Tries on a server, pooler or cloud what txscope promises, and prints which of it holds there:
//
//     conformance "host=db.example.org dbname=app user=app"
//
//     holds     what a scope does is committed when its body returns
//     not here  prepared statements keep their names
//               The pooler loses them. Set .statement_cache_size = 0, …
//     BROKEN    …
//
// "Not here" is what is known of such a set-up, with what to do; the program succeeds. It fails (1)
// where something is broken: there, do not rely on it. It could not try anything (2) where no connection
// can be opened, or the role may not create a schema.
//
// Without an argument it takes the server of TXSCOPE_DATABASE_URL, or a throwaway of its own. There it
// creates the schema `txscope_conformance`, removes it at the end, and touches nothing else. It takes
// about ten seconds, eight connections of its pool, and a few more for a moment each.

#include "promises.hpp"
#include <txscope/testing/temporary_postgres.hpp>

#include <fmt/core.h>

#include <cstdlib>
#include <exception>
#include <optional>
#include <string>

int main(int argc, char** argv) try {
    std::optional<txscope::TemporaryPostgres> throwaway;
    const char* given = argc > 1 ? argv[1] : std::getenv("TXSCOPE_DATABASE_URL");
    const std::string dsn = given != nullptr ? given : throwaway.emplace().dsn();

    int broken = 0;
    const auto tell = [&](const conformance::Finding& finding) {
        constexpr const char* verdicts[] = {"holds", "not here", "BROKEN"};
        fmt::print("{:8}  {}\n", verdicts[finding.verdict], finding.promise);
        if (finding.verdict != conformance::Finding::holds)
            fmt::print("{:10}{}\n", "", finding.why);
        if (finding.verdict == conformance::Finding::broken) ++broken;
    };
    conformance::try_all(conformance::promises, conformance::tables, dsn, tell);
    return broken == 0 ? 0 : 1;
} catch (const std::exception& error) {
    fmt::print(stderr, "conformance: {}\n", error.what());
    return 2;
}
