#include <txscope/src.hpp>
