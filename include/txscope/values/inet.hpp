#pragma once

#include <txscope/core/error.hpp>
#include <txscope/core/value.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/system/error_code.hpp>

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>

namespace txscope {

namespace detail {

template <typename T>
concept IpNetwork =
    std::same_as<T, boost::asio::ip::network_v4> || std::same_as<T, boost::asio::ip::network_v6>;

template <typename T>
concept IpAddress =
    std::same_as<T, boost::asio::ip::address> || std::same_as<T, boost::asio::ip::address_v4> ||
    std::same_as<T, boost::asio::ip::address_v6>;

struct Inet {
    boost::asio::ip::address address{};
    unsigned short prefix_length{};

    [[nodiscard]] unsigned short whole_length() const { return address.is_v4() ? 32 : 128; }
};

[[noreturn]] inline void fail_inet() {
    throw ValueError("the text is no address of that kind, or has a network's mask");
}

/// `10.0.0.1`, `10.0.0.0/8`, `::1`, `2001:db8::/32`
[[nodiscard]] inline Inet read_inet(std::string_view text) {
    Inet inet;
    const std::size_t slash = text.find('/');
    boost::system::error_code error;
    inet.address = boost::asio::ip::make_address(std::string{text.substr(0, slash)}, error);
    if (error) fail_inet();
    inet.prefix_length = slash == text.npos
                             ? inet.whole_length()
                             : SqlValue<unsigned short>::from_text(text.substr(slash + 1));
    if (inet.prefix_length > inet.whole_length()) fail_inet();
    return inet;
}

}  // namespace detail

/// `inet` or `cidr` of a single address as Asio's. One of a network is refused: ask for that.
template <detail::IpAddress T>
struct SqlValue<T> {
    static constexpr std::string_view type_names[] = {"inet", "cidr"};

    static std::string to_text(const T& address) { return address.to_string(); }

    static T from_text(std::string_view text) {
        const detail::Inet inet = detail::read_inet(text);
        if (inet.prefix_length != inet.whole_length()) detail::fail_inet();
        if constexpr (std::same_as<T, boost::asio::ip::address>) {
            return inet.address;
        } else {
            constexpr bool wants_v4 = std::same_as<T, boost::asio::ip::address_v4>;
            if (inet.address.is_v4() != wants_v4) detail::fail_inet();
            if constexpr (wants_v4)
                return inet.address.to_v4();
            else
                return inet.address.to_v6();
        }
    }
};

/// `cidr`, or `inet` of a host in its network, as Asio's.
template <detail::IpNetwork T>
struct SqlValue<T> {
    static constexpr std::string_view type_names[] = {"inet", "cidr"};

    static std::string to_text(const T& network) { return network.to_string(); }

    static T from_text(std::string_view text) {
        constexpr bool wants_v4 = std::same_as<T, boost::asio::ip::network_v4>;
        const detail::Inet inet = detail::read_inet(text);
        if (inet.address.is_v4() != wants_v4) detail::fail_inet();
        if constexpr (wants_v4)
            return T{inet.address.to_v4(), inet.prefix_length};
        else
            return T{inet.address.to_v6(), inet.prefix_length};
    }
};

}  // namespace txscope
