#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/strand.hpp>

namespace txscope::detail {

namespace asio = boost::asio;

/// What the coroutines of one scope run on, one at a time, whatever runs beneath.
using Strand = asio::strand<asio::any_io_executor>;

}  // namespace txscope::detail
