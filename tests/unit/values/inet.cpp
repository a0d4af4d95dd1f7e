#include "support/catch.hpp"
#include <txscope/values/inet.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <string>

namespace ip = boost::asio::ip;
using txscope::SqlValue;
using txscope::ValueError;

TEST_CASE("an address is read with or without the mask of a single host", "[inet]") {
    for (const char* text : {"10.0.0.1", "255.255.255.255", "::1", "2001:db8::ff00:42:8329"}) {
        const auto address = ip::make_address(text);
        const std::string whole = address.is_v4() ? "/32" : "/128";
        CHECK(SqlValue<ip::address>::to_text(address) == text);
        CHECK(SqlValue<ip::address>::from_text(text) == address);
        CHECK(SqlValue<ip::address>::from_text(text + whole) == address);
    }
    CHECK(SqlValue<ip::address_v4>::from_text("10.0.0.1") == ip::make_address_v4("10.0.0.1"));
    CHECK(SqlValue<ip::address_v6>::from_text("::1/128") == ip::make_address_v6("::1"));
}

TEST_CASE("a network keeps its mask, and the host in it", "[inet]") {
    const auto v4 = ip::make_network_v4("10.0.0.1/8");
    CHECK(SqlValue<ip::network_v4>::to_text(v4) == "10.0.0.1/8");
    CHECK(SqlValue<ip::network_v4>::from_text("10.0.0.1/8") == v4);
    CHECK(SqlValue<ip::network_v4>::from_text("10.0.0.1").prefix_length() == 32);
    const auto v6 = ip::make_network_v6("2001:db8::/32");
    CHECK(SqlValue<ip::network_v6>::to_text(v6) == "2001:db8::/32");
    CHECK(SqlValue<ip::network_v6>::from_text("2001:db8::/32") == v6);
}

TEST_CASE("an address of another kind is refused, and so is a mask that would be lost", "[inet]") {
    for (const char* text : {"", "x", "10.0.0", "10.0.0.1/8", "10.0.0.1/33", "10.0.0.1/", "::1/129",
                             "10.0.0.1/x", "10.0.0.1/-1"}) {
        INFO("text: " << text);
        CHECK_THROWS_AS(SqlValue<ip::address>::from_text(text), ValueError);
    }
    CHECK_THROWS_AS(SqlValue<ip::address_v4>::from_text("::1"), ValueError);
    CHECK_THROWS_AS(SqlValue<ip::address_v6>::from_text("10.0.0.1"), ValueError);
    CHECK_THROWS_AS(SqlValue<ip::network_v4>::from_text("::/0"), ValueError);
    CHECK_THROWS_AS(SqlValue<ip::network_v6>::from_text("10.0.0.0/8"), ValueError);
}
