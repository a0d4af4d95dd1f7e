#pragma once

#include <libpq-fe.h>

#include <memory>

namespace txscope::detail {

struct NativeDeleter {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
    void operator()(PGcancel* request) const noexcept { PQfreeCancel(request); }
    void operator()(PQconninfoOption* options) const noexcept { PQconninfoFree(options); }
    void operator()(char* text) const noexcept { PQfreemem(text); }
};

/// Owns what libpq allocated.
template <typename T>
using Native = std::unique_ptr<T, NativeDeleter>;

}  // namespace txscope::detail
