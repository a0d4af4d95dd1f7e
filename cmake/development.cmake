# For building txscope's own tests and examples; no program that uses txscope gets any of this.

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)

add_library(txscope_development INTERFACE)
target_link_libraries(txscope_development INTERFACE txscope)
target_compile_options(txscope_development INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow $<$<BOOL:${TXSCOPE_WERROR}>:-Werror>)

target_link_libraries(txscope_compiled PRIVATE txscope_development)

find_program(TXSCOPE_CCACHE ccache)
if(TXSCOPE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    # Precompiled headers are cached only with these allowances (ccache manual, "Precompiled headers").
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
        CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
        "${TXSCOPE_CCACHE}")
    if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
        target_compile_options(txscope_development INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
    endif()
endif()

# Asio counts references with atomic_thread_fence, which ThreadSanitizer does not see: it takes the
# last owner's delete for a race. Without std::atomic Asio counts in a way that it does see.
if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=thread")
    target_compile_definitions(txscope_development INTERFACE BOOST_ASIO_DISABLE_STD_ATOMIC)
endif()
