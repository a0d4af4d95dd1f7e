#include "support/catch.hpp"
#include <txscope/postgres/detail/last_sql.hpp>

#include <atomic>
#include <string>
#include <thread>

using txscope::detail::LastSql;

TEST_CASE("of a long statement the beginning is told, in whole characters", "[last_sql]") {
    const std::string full(LastSql::most, 'x');
    LastSql last;
    CHECK(last.get().empty());
    last.set(full);
    CHECK(last.get() == full);
    last.set(full + 'y');
    CHECK(last.get() == full + "…");
    last.set(full.substr(1) + "é");  // of two bytes
    CHECK(last.get() == full.substr(1) + "…");
    last.set(full.substr(2) + "é" + "zz");
    CHECK(last.get() == full.substr(2) + "é" + "…");
    last.set("");
    CHECK(last.get().empty());
}

TEST_CASE("what is read while another thread writes is one of the texts, whole", "[last_sql]") {
    const std::string one(100, '1');
    const std::string another(150, '2');
    LastSql last;
    last.set(one);
    std::atomic<bool> over = false;
    std::thread writer{[&] {
        while (!over) {
            last.set(another);
            last.set(one);
        }
    }};
    bool whole = true;
    for (int i = 0; i < 10'000; ++i) {
        const auto read = last.get();
        whole = whole && (read == one || read == another);
    }
    over = true;
    writer.join();
    CHECK(whole);
}
