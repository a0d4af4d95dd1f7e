# What txscope stands on. Each dependency is looked for on this machine first, and fetched only
# where it is missing and TXSCOPE_FETCH_DEPENDENCIES allows it.

include(FetchContent)

# txscope_dependency(<package> TARGET <target> [VERSION <version>] [FETCH <FetchContent arguments>])
#
# Afterwards <target> exists, unless the content fetched is not a CMake project. A target that the
# including project has made already is taken as it is. `txscope_fetched` tells that something was
# fetched, `txscope_find_dependencies` collects what the installed package has to look for.
macro(txscope_dependency package)
    cmake_parse_arguments(txscope_arg "" "TARGET;VERSION" "FETCH" ${ARGN})
    string(APPEND txscope_find_dependencies
        "find_dependency(${package} ${txscope_arg_VERSION})\n")
    if(NOT TARGET ${txscope_arg_TARGET})
        find_package(${package} ${txscope_arg_VERSION} QUIET)
        if(${package}_FOUND)
            message(STATUS "txscope: ${package} found ${${package}_VERSION}")
        elseif(TXSCOPE_FETCH_DEPENDENCIES AND txscope_arg_FETCH)
            message(STATUS "txscope: ${package} not found, fetched")
            FetchContent_Declare(${package} SYSTEM ${txscope_arg_FETCH})
            FetchContent_MakeAvailable(${package})
            set(txscope_fetched TRUE)
        else()
            message(FATAL_ERROR "txscope needs ${package} ${txscope_arg_VERSION}: not found")
        endif()
    endif()
endmacro()

txscope_dependency(Threads TARGET Threads::Threads)

# libpq cannot be fetched: PostgreSQL does not build with CMake.
txscope_dependency(PostgreSQL TARGET PostgreSQL::PostgreSQL VERSION 14)

# What libpq encrypts with, and the only one to ask what libpq does not tell: see detail/tls.hpp.
txscope_dependency(OpenSSL TARGET OpenSSL::SSL VERSION 1.1.1)

# The archive is taken for its headers alone; a release of Boost is no CMake project.
txscope_dependency(Boost TARGET Boost::headers VERSION 1.81 FETCH
    URL https://archives.boost.io/release/1.83.0/source/boost_1_83_0.tar.bz2
    URL_HASH SHA256=6478edfe2f3305127cffe8caf73ea0176c53769f4bf1585be237eb30798c3b8e)
if(NOT TARGET Boost::headers)
    add_library(Boost::headers INTERFACE IMPORTED GLOBAL)
    target_include_directories(Boost::headers SYSTEM INTERFACE "${boost_SOURCE_DIR}")
endif()

set(SKIP_BUILD_TEST ON) # libpqxx's own tests
txscope_dependency(libpqxx TARGET libpqxx::pqxx VERSION 6.4...<9 FETCH
    GIT_REPOSITORY https://github.com/jtv/libpqxx.git GIT_TAG 7.10.0 GIT_SHALLOW ON)
if(NOT TARGET libpqxx::pqxx)
    add_library(libpqxx::pqxx ALIAS pqxx)
endif()

txscope_dependency(fmt TARGET fmt::fmt VERSION 9 FETCH
    GIT_REPOSITORY https://github.com/fmtlib/fmt.git GIT_TAG 10.1.1 GIT_SHALLOW ON)
