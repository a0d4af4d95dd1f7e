# txscope::compiled: the library compiled once, rather than anew by each file that includes it. Built
# only where something links it, by the compiler and with the flags of that program.

if(NOT TARGET txscope_compiled)
    add_library(txscope_compiled STATIC EXCLUDE_FROM_ALL "${CMAKE_CURRENT_LIST_DIR}/compiled.cpp")
    add_library(txscope::compiled ALIAS txscope_compiled)
    target_link_libraries(txscope_compiled PUBLIC txscope::txscope)
    target_compile_definitions(txscope_compiled PUBLIC TXSCOPE_SEPARATE_COMPILATION)
    set_target_properties(txscope_compiled PROPERTIES POSITION_INDEPENDENT_CODE ON)
endif()
