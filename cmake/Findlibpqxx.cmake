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
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(libpqxx
    REQUIRED_VARS libpqxx_TARGET VERSION_VAR libpqxx_VERSION HANDLE_VERSION_RANGE)
