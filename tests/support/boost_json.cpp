// Boost.JSON, compiled into the programs of the tests: Debian's package for it is another than that of
// the headers.
#include <boost/json/src.hpp>
