#pragma once

#include <boost/asio/version.hpp>

// Whether this is an Asio whose private parts were found to be as they are used here. With others
// everything is done as Asio lets everybody do it, which costs more: a system call for each wait, two
// more blocks of memory for each scope; so it is for whoever defines TXSCOPE_NO_REACTOR_REGISTRATION.
#if BOOST_ASIO_VERSION >= 102600 && BOOST_ASIO_VERSION < 103900 && \
    !defined(TXSCOPE_NO_REACTOR_REGISTRATION)
#define TXSCOPE_KNOWS_ASIO_INTERNALS
#endif
