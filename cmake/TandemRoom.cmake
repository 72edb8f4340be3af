# tandem_room(NAME DEPENDS room... LINK library... [SUBROOMS dir...] [EXCLUDE regex] [OPTIMISE -On]
#             [FULL pattern...])
#
# One folder under src/ is one library `tandem_NAME` made of its *.cpp files and those of SUBROOMS.
# Files ending in _test.cpp become the test program NAME_test, linked with GoogleMock's main.
# DEPENDS names the rooms that this one may include; scripts/check_rooms.py holds the code to it.
# FULL: as of tandem_test.
function(tandem_room name)
  cmake_parse_arguments(ROOM "" "EXCLUDE;OPTIMISE" "DEPENDS;LINK;SUBROOMS;TEST_LINK;FULL" ${ARGN})
  set(patterns ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(subroom ${ROOM_SUBROOMS})
    list(APPEND patterns ${CMAKE_CURRENT_SOURCE_DIR}/${subroom}/*.cpp)
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${patterns})
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  if(ROOM_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${ROOM_EXCLUDE}")
  endif()

  list(TRANSFORM ROOM_DEPENDS PREPEND tandem_ OUTPUT_VARIABLE rooms)
  if(sources)
    add_library(tandem_${name} STATIC ${sources})
    target_link_libraries(tandem_${name} PUBLIC tandem_options ${rooms} ${ROOM_LINK})
    if(ROOM_OPTIMISE AND CMAKE_BUILD_TYPE STREQUAL "Release")
      target_compile_options(tandem_${name} PRIVATE ${ROOM_OPTIMISE})
    endif()
  else()
    add_library(tandem_${name} INTERFACE)
    target_link_libraries(tandem_${name} INTERFACE tandem_options ${rooms} ${ROOM_LINK})
  endif()

  if(TANDEM_BUILD_TESTS AND tests)
    tandem_test(${name}_test SOURCES ${tests} LINK tandem_${name} ${ROOM_TEST_LINK} FULL ${ROOM_FULL})
  endif()
endfunction()

# tandem_test(NAME SOURCES file... LINK library... [LABELS label...] [PREFIX text] [TIMEOUT s]
#             [WATCHED pattern...] [FULL pattern...])
# One GoogleTest program; each of its cases is one CTest test, named PREFIX and the case. With WATCHED
# the cases that match one of the patterns run with the race checker of emulated kernels, and the others
# without (docs/adr/kernel-races.md). With FULL the cases that match one of the patterns take seconds
# and get the label `full`.
function(tandem_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT;PREFIX" "SOURCES;LINK;LABELS;WATCHED;FULL" ${ARGN})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 120)
  endif()
  if(NOT TEST_LABELS)
    set(TEST_LABELS fast)
  endif()
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE ${TEST_LINK} GTest::gmock GTest::gmock_main)
  # Tests are compiled more often than they run: the code under test keeps the preset's level.
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(${name} PRIVATE -O1)
  endif()
  # Only sources that name these folders are compiled with them: a compiler cache then serves every
  # checkout with the objects of the others.
  foreach(source ${TEST_SOURCES})
    get_filename_component(source ${source} ABSOLUTE)
    file(STRINGS ${source} uses REGEX "TANDEM_(SOURCE|SHARED)_DIR" LIMIT_COUNT 1)
    if(uses)
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_DEFINITIONS
        TANDEM_SOURCE_DIR="${CMAKE_SOURCE_DIR}" TANDEM_SHARED_DIR="${TANDEM_SHARED_DIR}")
    endif()
  endforeach()
  if(TEST_FULL)
    list(JOIN TEST_FULL ":" full)
    gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 TEST_PREFIX "${TEST_PREFIX}"
      TEST_FILTER "${full}" TEST_LIST ${name}_full PROPERTIES TIMEOUT ${TEST_TIMEOUT} LABELS full)
    gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 TEST_PREFIX "${TEST_PREFIX}"
      TEST_FILTER "-${full}" TEST_LIST ${name}_rest
      PROPERTIES TIMEOUT ${TEST_TIMEOUT} LABELS "${TEST_LABELS}")
    return()
  endif()
  if(NOT TEST_WATCHED)
    gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 TEST_PREFIX "${TEST_PREFIX}"
      PROPERTIES TIMEOUT ${TEST_TIMEOUT} LABELS "${TEST_LABELS}")
    return()
  endif()
  list(JOIN TEST_WATCHED ":" watched)
  foreach(run "1;${watched}" "0;-${watched}")
    list(GET run 0 races)
    list(GET run 1 filter)
    gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 TEST_PREFIX "${TEST_PREFIX}"
      TEST_FILTER "${filter}" TEST_LIST ${name}_${races}
      PROPERTIES TIMEOUT ${TEST_TIMEOUT} LABELS "${TEST_LABELS}" ENVIRONMENT TANDEM_SIMT_RACES=${races})
  endforeach()
endfunction()

# tandem_fuzzer(NAME SOURCES file... LINK library...): a libFuzzer program, only with TANDEM_BUILD_FUZZERS.
function(tandem_fuzzer name)
  if(NOT TANDEM_BUILD_FUZZERS)
    return()
  endif()
  cmake_parse_arguments(FUZZ "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${FUZZ_SOURCES})
  target_link_libraries(${name} PRIVATE ${FUZZ_LINK})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endfunction()
