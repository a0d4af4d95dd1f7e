# txscope_check_sql(<target> SCHEMA <schema.sql> [HEADERS <header>...] [REPOSITORIES <class>...] [TEST])
#
# Checks, as a step of the build, that the SQL of a library of the program's fits a schema: every statement
# of these repositories (`app::Projects`), which these headers define, and every `sql<"…">` in the library.
# The build fails where something does not, and says which column: see <txscope/testing/check.hpp>. It is
# done anew when the library or the schema has changed. With TEST it is a CTest of the target's name and
# `_sql` instead.
#
# It starts a PostgreSQL server, which has to be installed. An executable cannot be checked: what is to be
# checked besides its `main` belongs into a library, which may be an object library.
function(txscope_check_sql target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "TEST" "SCHEMA" "HEADERS;REPOSITORIES")
    get_target_property(type ${target} TYPE)
    if(NOT type MATCHES "LIBRARY")
        message(FATAL_ERROR "txscope_check_sql: ${target} is no library")
    endif()
    if(NOT arg_SCHEMA)
        message(FATAL_ERROR "txscope_check_sql: which SCHEMA?")
    endif()
    cmake_path(ABSOLUTE_PATH arg_SCHEMA BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)

    list(TRANSFORM arg_HEADERS REPLACE "(.+)" "#include \"\\1\"")
    list(JOIN arg_HEADERS "\n" headers)
    list(JOIN arg_REPOSITORIES ", " repositories)
    set(program ${target}_check_sql)
    configure_file("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/check_sql.cpp.in" ${program}.cpp @ONLY)
    add_executable(${program} "${CMAKE_CURRENT_BINARY_DIR}/${program}.cpp")
    target_include_directories(${program} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
    target_link_libraries(${program} PRIVATE txscope::txscope)
    if(type STREQUAL "STATIC_LIBRARY") # of which the linker takes only what somebody calls, else
        target_link_libraries(${program} PRIVATE "$<LINK_LIBRARY:WHOLE_ARCHIVE,${target}>")
    else()
        target_link_libraries(${program} PRIVATE ${target})
    endif()

    if(arg_TEST)
        add_test(NAME ${target}_sql COMMAND ${program} "${arg_SCHEMA}")
    else()
        set(done "${CMAKE_CURRENT_BINARY_DIR}/${program}.done")
        add_custom_command(OUTPUT "${done}"
            COMMAND ${program} "${arg_SCHEMA}"
            COMMAND "${CMAKE_COMMAND}" -E touch "${done}"
            DEPENDS ${program} "${arg_SCHEMA}"
            COMMENT "Checking the SQL of ${target}" VERBATIM)
        add_custom_target(${target}_sql_is_checked ALL DEPENDS "${done}")
    endif()
endfunction()
