# Compiler settings shared by every target of the project.
add_library(fanmirror_options INTERFACE)
target_compile_features(fanmirror_options INTERFACE cxx_std_20)
target_include_directories(fanmirror_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(fanmirror_options INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                       -Wnon-virtual-dtor -Wimplicit-fallthrough -Werror)
target_compile_definitions(fanmirror_options INTERFACE _GNU_SOURCE FANMIRROR_VERSION="${PROJECT_VERSION}")

set(FANMIRROR_SANITIZE "" CACHE STRING "Sanitizers to build with, as given to -fsanitize=")
if(FANMIRROR_SANITIZE)
  target_compile_options(fanmirror_options INTERFACE -fsanitize=${FANMIRROR_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(fanmirror_options INTERFACE -fsanitize=${FANMIRROR_SANITIZE})
endif()

# Every test program of the stages, without the program itself.
add_custom_target(unit_tests)

option(FANMIRROR_FUZZ "Build the fuzz targets; needs clang" OFF)
if(FANMIRROR_FUZZ)
  add_custom_target(fuzz_targets)
endif()

# fanmirror_stage(NAME DEPENDS stage... LIBRARIES target...)
# One folder = one static library = one namespace. Files named *_test.cc become its test program NAME_test, and each
# X_fuzz.cc a fuzz target X_fuzz, with what the tests may use.
# A stage links only what is named here, so a wrong dependency does not link.
function(fanmirror_stage name)
  cmake_parse_arguments(STAGE "" "" "DEPENDS;LIBRARIES;TEST_DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cc)
  set(tests ${sources})
  set(fuzzers ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  set(dependencies ${STAGE_DEPENDS})
  list(TRANSFORM dependencies PREPEND fanmirror_)
  if(sources)
    add_library(fanmirror_${name} STATIC ${sources})
    target_link_libraries(fanmirror_${name} PUBLIC fanmirror_options ${dependencies} ${STAGE_LIBRARIES})
  else()
    add_library(fanmirror_${name} INTERFACE)
    target_link_libraries(fanmirror_${name} INTERFACE fanmirror_options ${dependencies} ${STAGE_LIBRARIES})
  endif()
  set(test_dependencies ${STAGE_TEST_DEPENDS})
  list(TRANSFORM test_dependencies PREPEND fanmirror_)
  if(tests)
    add_executable(${name}_test ${tests})
    add_dependencies(unit_tests ${name}_test)
    target_link_libraries(${name}_test PRIVATE fanmirror_${name} ${test_dependencies} GTest::gmock GTest::gtest_main)
    # gtest's macros take long to optimise, and what is tested is optimised in its library.
    target_compile_options(${name}_test PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
    add_test(NAME ${name} COMMAND ${name}_test)
    # One at a time: a mount namespace that one test makes would hold the filesystem that another unmounts.
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 600 RUN_SERIAL TRUE)
  endif()
  if(FANMIRROR_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(target ${fuzzer} NAME_WE)
      add_executable(${target} ${fuzzer})
      add_dependencies(fuzz_targets ${target})
      target_link_libraries(${target} PRIVATE fanmirror_${name} ${test_dependencies} -fsanitize=fuzzer)
    endforeach()
  endif()
endfunction()
