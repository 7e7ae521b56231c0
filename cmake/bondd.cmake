# Packages of Debian 12 and the two functions that declare a module and a test.
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
pkg_check_modules(LIBMNL REQUIRED IMPORTED_TARGET libmnl)
pkg_check_modules(LIBNFTNL REQUIRED IMPORTED_TARGET libnftnl)
pkg_check_modules(XTABLES REQUIRED IMPORTED_TARGET xtables)
pkg_check_modules(TOMLPP REQUIRED IMPORTED_TARGET tomlplusplus)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(CAPNG REQUIRED IMPORTED_TARGET libcap-ng)
pkg_check_modules(NCURSESW REQUIRED IMPORTED_TARGET ncursesw)
pkg_check_modules(QRENCODE REQUIRED IMPORTED_TARGET libqrencode)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)

add_library(bondd_options INTERFACE)
target_compile_options(bondd_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                       -Wno-sign-conversion -Wno-missing-field-initializers -Wnon-virtual-dtor -Woverloaded-virtual -fno-omit-frame-pointer)
if(BONDD_WERROR)
  target_compile_options(bondd_options INTERFACE -Werror)
  # g++ 12, optimising, sees copies of impossible size in inlined std::string code and its like (GCC bugs 105329, 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(bondd_options INTERFACE
                           $<$<NOT:$<CONFIG:Debug>>:-Wno-restrict;-Wno-stringop-overflow;-Wno-stringop-overread;-Wno-array-bounds>)
  endif()
endif()
if(BONDD_SANITIZE)
  target_compile_options(bondd_options INTERFACE -fsanitize=${BONDD_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(bondd_options INTERFACE -fsanitize=${BONDD_SANITIZE})
endif()
target_include_directories(bondd_options INTERFACE ${PROJECT_SOURCE_DIR})
include(${CMAKE_CURRENT_LIST_DIR}/hardening.cmake)

# bondd_library(NAME [OWN_OPTIONS] SOURCES a.cc … [PUBLIC lib …] [PRIVATE lib …])
# OWN_OPTIONS: compiled with options of its own, so without the common precompiled headers.
# Includes are written from the project's root: #include "bondd/base/error.h".
function(bondd_library name)
  cmake_parse_arguments(ARG "OWN_OPTIONS" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC bondd_options ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  if(NOT TARGET bondd_headers)  # the standard library's headers are compiled once for all modules
    add_library(bondd_headers OBJECT ${PROJECT_SOURCE_DIR}/cmake/headers.cc)
    target_link_libraries(bondd_headers PRIVATE bondd_options)
    target_precompile_headers(bondd_headers PRIVATE
      <algorithm> <array> <chrono> <cstdint> <filesystem> <functional> <map> <memory> <optional> <set> <span>
      <string> <string_view> <tuple> <unordered_map> <utility> <variant> <vector> <tl/expected.hpp>)
  endif()
  if(NOT ARG_OWN_OPTIONS)
    target_precompile_headers(${name} REUSE_FROM bondd_headers)
  endif()
endfunction()

# bondd_test(NAME SOURCES a_test.cc … LIBS lib … [LABEL unit])
# One GoogleTest program per module; every TEST becomes a ctest test.
function(bondd_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;LIBS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE bondd_options ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  # Only where it is used, so that a compiler cache serves every checkout with the rest.
  foreach(source ${ARG_SOURCES})
    file(STRINGS ${source} uses_dir REGEX "BONDD_(SOURCE|BINARY)_DIR" LIMIT_COUNT 1)
    if(uses_dir)
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_DEFINITIONS
                   BONDD_SOURCE_DIR="${PROJECT_SOURCE_DIR}" BONDD_BINARY_DIR="${PROJECT_BINARY_DIR}")
    endif()
  endforeach()
  # A test is compiled as often as it is run: three quarters of the time of -O3 went into optimising it.
  target_compile_options(${name} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O1>)
  if(NOT TARGET bondd_test_headers)  # GoogleTest's headers are compiled once for all tests
    add_library(bondd_test_headers OBJECT ${PROJECT_SOURCE_DIR}/tests/support/headers.cc)
    target_compile_options(bondd_test_headers PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O1>)
    target_link_libraries(bondd_test_headers PRIVATE bondd_options GTest::gmock)
    target_precompile_headers(bondd_test_headers PRIVATE <gtest/gtest.h> <gmock/gmock.h> <tl/expected.hpp>)
  endif()
  target_precompile_headers(${name} REUSE_FROM bondd_test_headers)
  gtest_discover_tests(${name} PROPERTIES LABELS ${ARG_LABEL} DISCOVERY_TIMEOUT 60)
endfunction()
