# Target functions of the project: every library, program and test is declared through one of these, so that warnings,
# sanitizers and the include root are the same everywhere.

add_library(ballast_flags INTERFACE)
target_include_directories(ballast_flags INTERFACE ${CMAKE_SOURCE_DIR})
# Contracted multiply-adds would make results depend on the compiler's choice; results are promised bit for bit.
target_compile_options(ballast_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Werror;-ffp-contract=off>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Wall,-Wextra,-Werror>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # std::stable_sort of GCC 12's library calls what the same library calls deprecated; clang reports that, GCC does not.
  target_compile_options(ballast_flags INTERFACE -Wthread-safety -Wno-deprecated-declarations)
endif()
if(BALLAST_SANITIZE)
  # -O1: what UBSan adds to the code takes GCC half as long again to optimise at -O2.
  target_compile_options(ballast_flags INTERFACE -fsanitize=${BALLAST_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all -O1)
  target_link_options(ballast_flags INTERFACE -fsanitize=${BALLAST_SANITIZE})
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # The base dir lets one cache serve several build folders and checkouts.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      ${CCACHE_PROGRAM})
endif()

# ballast_library(NAME SRCS a.cc b.cc DEPS x y): a static library. The link line is the list of what it may use.
function(ballast_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  if(ARG_SRCS)
    add_library(${name} STATIC ${ARG_SRCS})
    target_link_libraries(${name} PUBLIC ballast_flags ${ARG_DEPS})
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ballast_flags ${ARG_DEPS})
  endif()
endfunction()

# ballast_program(NAME SRCS main.cc DEPS x y): an executable in build/bin.
function(ballast_program name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE ballast_flags ${ARG_DEPS})
endfunction()

# ballast_test(NAME SRCS x_test.cc DEPS x LABELS unit TIMEOUT 60 [SERIAL]): a GoogleTest program; every TEST is a ctest
# test. SERIAL is for tests with deadlines: ctest runs nothing else beside them.
function(ballast_test name)
  cmake_parse_arguments(ARG "SERIAL" "TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE ballast_flags ${ARG_DEPS} GTest::gtest_main GTest::gmock)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  gtest_discover_tests(${name} TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60 DISCOVERY_MODE PRE_TEST
                       PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} RUN_SERIAL ${ARG_SERIAL})
endfunction()
