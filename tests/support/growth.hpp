#pragma once

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <limits>

namespace support {

/// How many times as much of the processor's time `work` takes for eight times as much: about 8
/// where that grows with the amount, 64 where it grows with its square. `amount` is the larger one.
template <typename Work>
double growth(std::size_t amount, Work work) {
    const auto time = [&](std::size_t some) {
        auto least = std::numeric_limits<double>::max();
        for (int round = 0; round < 2; ++round) {
            const std::clock_t begun = std::clock();
            work(some);
            least = std::min(least, static_cast<double>(std::clock() - begun));
        }
        return std::max(least, 1.0);
    };
    const double small = time(amount / 8);
    return time(amount) / small;
}

}  // namespace support
