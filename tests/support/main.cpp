#define CATCH_CONFIG_RUNNER  // Catch2 2 compiles itself here; Catch2 3 comes compiled
#include "support/catch.hpp"

#include <cstdio>
#include <cstdlib>
#include <thread>

#if CATCH_VERSION_MAJOR >= 3
using Listener = Catch::EventListenerBase;
#else
using Listener = Catch::TestEventListenerBase;
#endif

namespace {

/// Catch2's assertions are not to be used on several threads at once, which a sanitizer sees only
/// now and then. So a test that asserts on another thread than its own ends the program.
class AssertsOnOneThread : public Listener {
public:
    using Listener::Listener;

    void testCaseStarting(const Catch::TestCaseInfo& info) override {
        Listener::testCaseStarting(info);
        thread_ = std::this_thread::get_id();
    }

    void assertionStarting(const Catch::AssertionInfo& info) override {
        if (std::this_thread::get_id() == thread_) return;
        std::fprintf(stderr, "%s:%zu: an assertion on another thread than its test's\n",
                     info.lineInfo.file, info.lineInfo.line);
        std::abort();
    }

private:
    std::thread::id thread_;
};

CATCH_REGISTER_LISTENER(AssertsOnOneThread)

}  // namespace

int main(int argc, char* argv[]) { return Catch::Session().run(argc, argv); }
