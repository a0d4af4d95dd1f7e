#pragma once

#include <stdexcept>

namespace txscope {

/// A throwaway server could not be made, started or stopped; what() says why.
class TemporaryPostgresError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

}  // namespace txscope
