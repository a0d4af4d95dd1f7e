#pragma once

#include "failing_allocation.hpp"

#include <dlfcn.h>
#include <malloc.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

// Counts what a program asks of the C library (glibc): memory, and the system calls that a program
// with sockets makes. The functions of these names are defined here, and so stand before glibc's
// for every library of the program: to be included by one source file of it, not under a sanitizer.

namespace support {

/// What the whole process has done since it began.
struct Counts {
    std::int64_t allocations = 0;
    std::int64_t bytes = 0;       ///< That were asked for.
    std::int64_t live_bytes = 0;  ///< Not freed yet; as large as the heap made the blocks.
    std::int64_t sends = 0;       ///< send, sendto, sendmsg, writev
    std::int64_t receives = 0;    ///< recv, recvfrom, recvmsg, readv
    std::int64_t in_vain = 0;     ///< Of the receives, those that found nothing.
    std::int64_t waits = 0;       ///< epoll_wait
    std::int64_t epoll_ctls = 0;
    std::int64_t others = 0;  ///< poll, read, write, timerfd_settime
};

namespace detail {

struct Counters {
    std::atomic<std::int64_t> allocations, bytes, live_bytes;
    std::atomic<std::int64_t> sends, receives, in_vain, waits, epoll_ctls, others;
};
inline constinit Counters counters{};

inline void add(std::atomic<std::int64_t>& counter, std::int64_t amount = 1) {
    counter.fetch_add(amount, std::memory_order_relaxed);
}

inline void add_live(void* memory) {
    add(counters.live_bytes, static_cast<std::int64_t>(malloc_usable_size(memory)));
}
inline void remove_live(void* memory) {
    add(counters.live_bytes, -static_cast<std::int64_t>(malloc_usable_size(memory)));
}

inline void* count_allocation(void* memory, std::size_t size) {
    add(counters.allocations);
    add(counters.bytes, static_cast<std::int64_t>(size));
    add_live(memory);
    return memory;
}

template <typename Function>
Function* next(const char* name, Function*) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

inline ssize_t count_receive(ssize_t received) {
    add(counters.receives);
    if (received < 0 && errno == EAGAIN) add(counters.in_vain);
    return received;
}

}  // namespace detail

inline Counts counts() {
    const detail::Counters& now = detail::counters;
    return {now.allocations, now.bytes, now.live_bytes, now.sends, now.receives,
            now.in_vain,     now.waits, now.epoll_ctls, now.others};
}

inline Counts operator-(const Counts& later, const Counts& earlier) {
    return {later.allocations - earlier.allocations,
            later.bytes - earlier.bytes,
            later.live_bytes - earlier.live_bytes,
            later.sends - earlier.sends,
            later.receives - earlier.receives,
            later.in_vain - earlier.in_vain,
            later.waits - earlier.waits,
            later.epoll_ctls - earlier.epoll_ctls,
            later.others - earlier.others};
}

}  // namespace support

extern "C" {

void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* memory);

void* malloc(std::size_t size) noexcept {
    return support::detail::count_allocation(__libc_malloc(size), size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
    return support::detail::count_allocation(__libc_calloc(count, size), count * size);
}
void* realloc(void* memory, std::size_t size) noexcept {
    if (support::allocation_fails != nullptr && support::allocation_fails()) return nullptr;
    support::detail::remove_live(memory);
    return support::detail::count_allocation(__libc_realloc(memory, size), size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
    return support::detail::count_allocation(__libc_memalign(alignment, size), size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
    return memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
    *memory = memalign(alignment, size);
    return *memory == nullptr ? ENOMEM : 0;
}
void free(void* memory) noexcept {
    support::detail::remove_live(memory);
    __libc_free(memory);
}

ssize_t send(int socket, const void* data, std::size_t size, int flags) {
    static const auto next = support::detail::next("send", &send);
    support::detail::add(support::detail::counters.sends);
    return next(socket, data, size, flags);
}
ssize_t sendto(int socket, const void* data, std::size_t size, int flags, const sockaddr* address,
               socklen_t length) {
    static const auto next = support::detail::next("sendto", &sendto);
    support::detail::add(support::detail::counters.sends);
    return next(socket, data, size, flags, address, length);
}
ssize_t sendmsg(int socket, const msghdr* message, int flags) {
    static const auto next = support::detail::next("sendmsg", &sendmsg);
    support::detail::add(support::detail::counters.sends);
    return next(socket, message, flags);
}
ssize_t writev(int file, const iovec* buffers, int count) {
    static const auto next = support::detail::next("writev", &writev);
    support::detail::add(support::detail::counters.sends);
    return next(file, buffers, count);
}

ssize_t recv(int socket, void* data, std::size_t size, int flags) {
    static const auto next = support::detail::next("recv", &recv);
    return support::detail::count_receive(next(socket, data, size, flags));
}
ssize_t recvfrom(int socket, void* data, std::size_t size, int flags, sockaddr* address,
                 socklen_t* length) {
    static const auto next = support::detail::next("recvfrom", &recvfrom);
    return support::detail::count_receive(next(socket, data, size, flags, address, length));
}
ssize_t recvmsg(int socket, msghdr* message, int flags) {
    static const auto next = support::detail::next("recvmsg", &recvmsg);
    return support::detail::count_receive(next(socket, message, flags));
}
ssize_t readv(int file, const iovec* buffers, int count) {
    static const auto next = support::detail::next("readv", &readv);
    return support::detail::count_receive(next(file, buffers, count));
}

int epoll_wait(int epoll, epoll_event* events, int size, int timeout) {
    static const auto next = support::detail::next("epoll_wait", &epoll_wait);
    support::detail::add(support::detail::counters.waits);
    return next(epoll, events, size, timeout);
}
int epoll_ctl(int epoll, int operation, int file, epoll_event* event) noexcept {
    static const auto next = support::detail::next("epoll_ctl", &epoll_ctl);
    support::detail::add(support::detail::counters.epoll_ctls);
    return next(epoll, operation, file, event);
}

int poll(pollfd* files, nfds_t count, int timeout) {
    static const auto next = support::detail::next("poll", &poll);
    support::detail::add(support::detail::counters.others);
    return next(files, count, timeout);
}
ssize_t read(int file, void* data, std::size_t size) {
    static const auto next = support::detail::next("read", &read);
    support::detail::add(support::detail::counters.others);
    return next(file, data, size);
}
ssize_t write(int file, const void* data, std::size_t size) {
    static const auto next = support::detail::next("write", &write);
    support::detail::add(support::detail::counters.others);
    return next(file, data, size);
}
int timerfd_settime(int timer, int flags, const itimerspec* time, itimerspec* old) noexcept {
    static const auto next = support::detail::next("timerfd_settime", &timerfd_settime);
    support::detail::add(support::detail::counters.others);
    return next(timer, flags, time, old);
}

}  // extern "C"
