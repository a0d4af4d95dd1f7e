#pragma once

#include <fmt/core.h>

#include <unistd.h>

#include <cstddef>
#include <cstdio>

/// One line on a terminal that fills as work is done; silent where stdout is not a terminal.
class ProgressBar {
public:
    explicit ProgressBar(std::size_t total) : total_{total} {}
    ProgressBar(const ProgressBar&) = delete;

    ~ProgressBar() {
        if (terminal_ && drawn_ != nothing) {
            fmt::print("\r{:{}}\r", "", width + 8);
            std::fflush(stdout);
        }
    }

    void advance() {
        ++done_;
        const std::size_t percent = 100 * done_ / total_;
        if (!terminal_ || percent == drawn_) return;
        drawn_ = percent;
        const std::size_t filled = width * percent / 100;
        fmt::print("\r[{:=<{}}{:{}}] {:3}%", "", filled, "", width - filled, percent);
        std::fflush(stdout);
    }

private:
    static constexpr std::size_t width = 50;
    static constexpr std::size_t nothing = static_cast<std::size_t>(-1);

    std::size_t total_;
    std::size_t done_ = 0;
    std::size_t drawn_ = nothing;
    bool terminal_ = isatty(STDOUT_FILENO) == 1;
};
