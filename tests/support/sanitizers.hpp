#pragma once

// Which sanitizer a test runs under: g++ and Clang each say so in a way of their own.
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define TXSCOPE_TESTS_ADDRESS_SANITIZER
#elif __has_feature(thread_sanitizer)
#define TXSCOPE_TESTS_THREAD_SANITIZER
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define TXSCOPE_TESTS_ADDRESS_SANITIZER
#endif
#ifdef __SANITIZE_THREAD__
#define TXSCOPE_TESTS_THREAD_SANITIZER
#endif
