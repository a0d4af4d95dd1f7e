#pragma once

#ifndef __linux__
#error "txscope's testing headers rely on Linux: /proc, prctl and child subreapers"
#endif

#include <dirent.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

/// A look into /proc with async-signal-safe calls only, since it is taken between fork and exec.
namespace txscope::detail {

/// The number that `text` consists of, or ends at the character `end` with; else 0.
inline pid_t parse_process_number(const char* text, char end) {
    pid_t number = 0;
    for (; *text >= '0' && *text <= '9'; ++text) number = number * 10 + (*text - '0');
    return *text == end ? number : 0;
}

/// The parent of a process that is named as in /proc, and its state, the letter that `ps` shows.
inline pid_t parent_of_process(int proc, const char* process, char& state) {
    char path[32];
    const std::size_t length = std::strlen(process);
    if (length > 16) return 0;
    std::memcpy(path, process, length);
    std::memcpy(path + length, "/stat", 6);
    const int file = ::openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[512];
    const ssize_t size = ::read(file, text, sizeof text - 1);
    ::close(file);
    if (size <= 0) return 0;
    text[size] = '\0';
    // "<pid> (<name>) <state> <parent> ...", where the name may hold anything, parentheses too.
    const char* after_name = std::strrchr(text, ')');
    if (!after_name || std::strlen(after_name) < 5) return 0;
    state = after_name[2];
    return parse_process_number(after_name + 4, ' ');
}

/// Call `visit(pid, state)` for every child of `parent`.
template <class Visit>
void for_each_child(pid_t parent, Visit visit) {
    const int proc = ::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0) return;
    alignas(dirent64) char entries[4096];
    ssize_t size = 0;
    while ((size = ::getdents64(proc, entries, sizeof entries)) > 0) {
        for (ssize_t at = 0; at < size;) {
            const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
            at += entry->d_reclen;
            const pid_t child = parse_process_number(entry->d_name, '\0');
            char state = 0;
            if (child > 0 && parent_of_process(proc, entry->d_name, state) == parent)
                visit(child, state);
        }
    }
    ::close(proc);
}

}  // namespace txscope::detail
