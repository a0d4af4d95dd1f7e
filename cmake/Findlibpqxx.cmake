# Finds libpqxx as `libpqxx::pqxx`: by its own CMake package where it has one, else by its header
# and library, as on Debian and Ubuntu, whose packages of libpqxx 6 hold no CMake files.

find_package(libpqxx CONFIG QUIET)

if(NOT TARGET libpqxx::pqxx)
    find_path(libpqxx_INCLUDE_DIR pqxx/version.hxx)
    find_library(libpqxx_LIBRARY pqxx)
    mark_as_advanced(libpqxx_INCLUDE_DIR libpqxx_LIBRARY)
    if(libpqxx_INCLUDE_DIR)
        file(STRINGS "${libpqxx_INCLUDE_DIR}/pqxx/version.hxx" libpqxx_VERSION
            REGEX "define PQXX_VERSION ")
        string(REGEX MATCH "[0-9.]+" libpqxx_VERSION "${libpqxx_VERSION}")
    endif()
    if(libpqxx_INCLUDE_DIR AND libpqxx_LIBRARY)
        add_library(libpqxx::pqxx UNKNOWN IMPORTED)
        set_target_properties(libpqxx::pqxx PROPERTIES
            IMPORTED_LOCATION "${libpqxx_LIBRARY}"
            INTERFACE_INCLUDE_DIRECTORIES "${libpqxx_INCLUDE_DIR}")
    endif()
endif()

if(TARGET libpqxx::pqxx)
    set(libpqxx_TARGET libpqxx::pqxx)
endif()

# The exceptions of libpqxx 7.8 and 7.9 have a member more where the compiler has std::source_location.
# A library without it, compiled as C++17 like that of Ubuntu 24.04, cannot be linked with C++20.
if(libpqxx_TARGET AND libpqxx_VERSION VERSION_GREATER_EQUAL 7.8 AND libpqxx_VERSION VERSION_LESS 7.10)
    try_compile(libpqxx_LINKS_WITH_CXX20
        SOURCE_FROM_CONTENT throw.cpp
            "#include <pqxx/except>\nint main() { throw pqxx::failure{\"\"}; }\n"
        LINK_LIBRARIES libpqxx::pqxx
        CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON)
    if(NOT libpqxx_LINKS_WITH_CXX20)
        target_include_directories(libpqxx::pqxx BEFORE INTERFACE
            "${CMAKE_CURRENT_LIST_DIR}/libpqxx_as_cxx17")
    endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(libpqxx
    REQUIRED_VARS libpqxx_TARGET VERSION_VAR libpqxx_VERSION HANDLE_VERSION_RANGE)
