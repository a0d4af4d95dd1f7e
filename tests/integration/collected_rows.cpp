#include "support/catch.hpp"
#include "support/checking_observer.hpp"
#include "support/database.hpp"
#include "support/eventually.hpp"
#include "support/failure.hpp"
#include "support/fault_proxy.hpp"
#include "support/run.hpp"
#include "support/started.hpp"
#include <txscope/core/error.hpp>
#include <txscope/repository/base_repository.hpp>
#include <txscope/session/async_session_factory.hpp>
#include <txscope/transaction/transaction_scope.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Repositories read the rows of a long result while it arrives.
namespace collected_rows {

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using support::failure_of;
using support::is;
using txscope::ascending;
using txscope::field;
using txscope::Session;
using txscope::TransactionScope;

constexpr int most = 50'000;

struct Reading {
    std::int64_t id{};
    std::string text{};
    std::optional<std::string> note{};
    bool operator==(const Reading&) const = default;
};
BOOST_DESCRIBE_STRUCT(Reading, (), (id, text, note))

class Readings : public txscope::BaseRepository<Readings, Reading> {
public:
    static constexpr std::string_view table = "readings";
    using BaseRepository::BaseRepository;
};

struct Note {
    std::string note{};
    bool operator==(const Note&) const = default;
};
BOOST_DESCRIBE_STRUCT(Note, (), (note))

// Its note is NULL in every third row, and in one far behind the first.
const std::string schema =
    "CREATE TABLE readings AS SELECT id, 'text ' || id AS text, CASE "
    "WHEN id % 3 <> 0 THEN repeat('n', (id % 50)::int) END AS note "
    "FROM generate_series(1::bigint, " +
    std::to_string(most) + ") AS id";

Reading reading_of(std::int64_t id) {
    Reading reading{id, "text " + std::to_string(id), std::nullopt};
    if (id % 3 != 0) reading.note = std::string(static_cast<std::size_t>(id % 50), 'n');
    return reading;
}

void check_all(const std::vector<Reading>& readings) {
    REQUIRE(readings.size() == most);
    std::int64_t id = 0;
    for (const Reading& reading : readings)
        if (reading != reading_of(++id)) FAIL("another row at " << id);
}

struct Fixture {
    explicit Fixture(txscope::PoolOptions options = {.max_size = 2})
        : sessions{io, database.dsn(), support::observed(options)} {}

    template <typename Work>
    auto run(Work work) {
        return support::run(io, std::move(work));
    }

    support::Database database{schema};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions;
    Readings readings{sessions};
};

constexpr auto id = field<&Reading::id>;

TEST_CASE("of a long result all rows are read, in their order", "[collected_rows]") {
    const bool pipelining = GENERATE(true, false);
    Fixture f{{.max_size = 2, .pipelining = pipelining}};
    check_all(f.run(f.readings.find_all(ascending(id))));
    const auto body = [&](Session& session) -> asio::awaitable<void> {
        session.enqueue("INSERT INTO readings VALUES (0, 'one more')");
        const auto [all, few, count] =
            co_await (f.readings.find_all(ascending(id), id >= 1) &&
                      f.readings.find_all(ascending(id), id <= 1) && f.readings.count());
        check_all(all);
        CHECK(few.size() == 2);
        CHECK(count == most + 1);
    };
    f.run(TransactionScope{f.sessions}(body));
}

TEST_CASE("rows that are longer than a read are read, too", "[collected_rows]") {
    Fixture f;
    f.database.query("UPDATE readings SET text = repeat('x', id::int * 1000) WHERE id <= 300");
    const auto found = f.run(f.readings.find_all(id <= 300, ascending(id)));
    REQUIRE(found.size() == 300);
    for (const Reading& reading : found)
        CHECK(reading.text.size() == static_cast<std::size_t>(reading.id) * 1000);
}

TEST_CASE("rows that are created many at once come back all", "[collected_rows]") {
    Fixture f;
    std::vector<Reading> all;
    for (int i = 1; i <= most; ++i) all.push_back(reading_of(i));
    f.database.query("TRUNCATE readings");
    check_all(f.run(f.readings.create_all(all)));
}

TEST_CASE("a value that does not fit is told as of a short result", "[collected_rows]") {
    Fixture f;
    const auto body = [&]() -> asio::awaitable<void> {
        // The third row's note is NULL, and many come behind it.
        const auto failure = co_await failure_of(f.readings.select<Note>(ascending(id)));
        CHECK(is<txscope::ColumnError>(failure));
        const auto of_few = co_await failure_of(f.readings.select<Note>(ascending(id), id <= 3));
        CHECK(support::text_of(failure) == support::text_of(of_few));
        check_all(co_await f.readings.find_all(ascending(id)));
    };
    f.run(TransactionScope{f.sessions}(body));
    CHECK(f.sessions.statistics().opened == 1);
}

TEST_CASE("a statement that fails behind its first rows gives none", "[collected_rows]") {
    Fixture f;
    const auto failing = txscope::sql("100 / (40000 - id) IS NOT NULL");
    const auto failure = f.run(failure_of(f.readings.find_all(failing)));
    CHECK(is<txscope::SqlError>(failure));
    check_all(f.run(f.readings.find_all(ascending(id))));
    CHECK(f.sessions.statistics().opened == 1);
}

TEST_CASE("what is prepared for a table of before is read anew", "[collected_rows]") {
    Fixture f;
    for (int i = 0; i < 3; ++i) check_all(f.run(f.readings.find_all(ascending(id))));
    f.database.query("ALTER TABLE readings ALTER id TYPE numeric, ALTER note TYPE varchar(60)");
    check_all(f.run(f.readings.find_all(ascending(id))));
}

// A result of which a part has arrived, and no more comes for now.
struct HeldResult {
    HeldResult() {
        // Far more than fits into the sockets' buffers: the server is not done with it.
        database.query("UPDATE readings SET text = repeat('x', 1000)");
        support::run(io, sessions.warm_up(1));
        proxy.stall(support::after_bytes(support::Direction::to_client, 8'000'000));
    }

    const support::Database database{schema};
    support::FaultProxy proxy{support::server()};
    asio::io_context io;
    txscope::AsyncSessionFactory sessions{io, proxy.dsn(database.name()),
                                          support::observed({.max_size = 1})};
    Readings readings{sessions};

    asio::awaitable<void> find() { (void)co_await readings.find_all(ascending(id)); }
    void run_until_held() {
        support::run_until(io, [&] {
            const auto counts = proxy.counts();
            return counts.struck == counts.armed;
        });
    }
};

TEST_CASE("who is cancelled while rows arrive gets none, and the connection goes on",
          "[collected_rows]") {
    HeldResult held;
    support::Started work{held.io, held.find()};
    held.run_until_held();
    work.cancel();
    support::run_until(held.io, [&] { return held.proxy.cancel_requests() == 1; });
    held.proxy.resume();
    support::run_until(held.io, [&] { return work.done(); });
    CHECK(work.aborted());
    CHECK(support::run(held.io, held.readings.find_all()).size() == most);
    CHECK(held.sessions.statistics().opened == 1);
}

TEST_CASE("a context that is destroyed while rows arrive leaks none", "[collected_rows]") {
    HeldResult held;
    asio::co_spawn(held.io, held.find(), asio::detached);
    held.run_until_held();
}

}  // namespace collected_rows
