# Installs txscope as a package: find_package(txscope) gives txscope::txscope and txscope::compiled.

# What was fetched is not installed, so a package that refers to it would be of no use.
if(txscope_fetched)
    set(install_by_default OFF)
else()
    set(install_by_default ${PROJECT_IS_TOP_LEVEL})
endif()
option(TXSCOPE_INSTALL "Install txscope with its CMake package" ${install_by_default})
if(NOT TXSCOPE_INSTALL)
    if(PROJECT_IS_TOP_LEVEL)
        message(NOTICE "txscope: `cmake --install` will install nothing: TXSCOPE_INSTALL is off,"
            " as it is by default where a dependency was fetched")
    endif()
    return()
endif()

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/txscope")
configure_file(cmake/txscope-config.cmake.in txscope-config.cmake @ONLY)
write_basic_package_version_file(txscope-config-version.cmake
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)

install(TARGETS txscope EXPORT txscope FILE_SET HEADERS)
install(EXPORT txscope FILE txscope-targets.cmake NAMESPACE txscope:: DESTINATION ${package_dir})
install(FILES
    "${PROJECT_BINARY_DIR}/txscope-config.cmake"
    "${PROJECT_BINARY_DIR}/txscope-config-version.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/Findlibpqxx.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/compiled.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/compiled.cpp"
    "${PROJECT_SOURCE_DIR}/cmake/check_sql.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/check_sql.cpp.in"
    DESTINATION ${package_dir})
install(DIRECTORY cmake/libpqxx_as_cxx17 DESTINATION ${package_dir}) # for Findlibpqxx.cmake
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/txscope")
