#include "support/catch.hpp"
#include <txscope/protocol/response.hpp>

using namespace txscope::protocol;
using Outcome = Response::Outcome;

TEST_CASE("responses are reported once, in the order in which they were done", "[protocol]") {
    Response a;
    Response b;
    Response c;
    ResponseList done;
    CHECK(done.take() == nullptr);
    CHECK_FALSE(a.done());
    CHECK(a.outcome() == Outcome::pending);
    done.add(a, Outcome::succeeded);
    done.add(b, Outcome::lost);
    done.add(a, Outcome::lost);
    CHECK_FALSE(a.done());  // it is not to go before it is reported
    CHECK(done.take() == &a);
    CHECK(a.done());
    CHECK(a.outcome() == Outcome::succeeded);
    done.add(c, Outcome::unsent);
    CHECK(done.take() == &b);
    CHECK(done.take() == &c);
    CHECK(done.take() == nullptr);
    CHECK(c.outcome() == Outcome::unsent);
}

TEST_CASE("a response that goes is not reported", "[protocol]") {
    for (int gone = 0; gone < 3; ++gone) {
        Response responses[3];
        Response later;
        ResponseList done;
        for (Response& response : responses) done.add(response, Outcome::succeeded);
        done.remove(responses[gone]);
        done.remove(later);
        done.add(later, Outcome::succeeded);
        for (int i = 0; i < 3; ++i)
            if (i != gone) CHECK(done.take() == &responses[i]);
        CHECK(done.take() == &later);
        CHECK(done.take() == nullptr);
    }
}
