# Finds nvcc (CUDA 12 or 13), also where the toolkit is not on the PATH, and decides whether CUDA is
# built: TANDEM_WITH_CUDA. Rooms call tandem_cuda_library() either way.
set(TANDEM_CUDA AUTO CACHE STRING "Build for NVIDIA GPUs: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE TANDEM_CUDA PROPERTY STRINGS AUTO ON OFF)
# Two generations keep a build on small machines short; the preset `cuda-release` takes all.
set(TANDEM_CUDA_ARCHITECTURES 86 90 CACHE STRING "Compute capabilities to compile for, or `native`")

# tandem_try_nvcc(FAULT): what keeps TANDEM_NVCC from making a program, in its own words; empty: nothing.
# An nvcc may be there without its toolkit, or with a host compiler that it does not know.
function(tandem_try_nvcc fault)
  set(${fault} "" PARENT_SCOPE)
  if(TANDEM_NVCC_THAT_WORKS STREQUAL TANDEM_NVCC)
    return()
  endif()
  set(folder ${CMAKE_BINARY_DIR}/CMakeFiles/try_nvcc)
  file(WRITE ${folder}/try.cu
    "#include <cuda_runtime.h>\n__global__ void k() {}\nint main() { k<<<1, 1>>>(); return cudaGetLastError(); }\n")
  set(host_compiler "$ENV{CUDAHOSTCXX}")
  if(CMAKE_CUDA_HOST_COMPILER)
    set(host_compiler ${CMAKE_CUDA_HOST_COMPILER})
  endif()
  set(command ${TANDEM_NVCC} try.cu -o try)
  if(host_compiler)
    list(APPEND command -ccbin ${host_compiler})
  endif()
  execute_process(COMMAND ${command} WORKING_DIRECTORY ${folder} TIMEOUT 120
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(result EQUAL 0)
    set(TANDEM_NVCC_THAT_WORKS ${TANDEM_NVCC} CACHE INTERNAL "nvcc that made a program")
  else()
    string(STRIP "${output}" output)
    set(${fault} "${TANDEM_NVCC} makes no program (${result}): ${output}" PARENT_SCOPE)
  endif()
endfunction()

set(TANDEM_WITH_CUDA FALSE)
set(why_not "")
if(TANDEM_CUDA)
  file(GLOB cuda_roots /usr/local/cuda/bin /usr/local/cuda-*/bin)
  list(SORT cuda_roots COMPARE NATURAL ORDER DESCENDING)
  find_program(TANDEM_NVCC nvcc HINTS ENV CUDACXX PATHS ${cuda_roots})
  if(TANDEM_NVCC)
    tandem_try_nvcc(why_not)
  else()
    set(why_not "no nvcc is on the PATH or under /usr/local/cuda*/bin")
  endif()
  if(NOT why_not)
    set(TANDEM_WITH_CUDA TRUE)
  elseif(NOT TANDEM_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "TANDEM_CUDA=${TANDEM_CUDA}, but ${why_not}")
  elseif(TANDEM_NVCC)
    message(WARNING "building without CUDA: ${why_not}")
  else()
    message(STATUS "building without CUDA: ${why_not}")
  endif()
endif()

if(TANDEM_WITH_CUDA)
  set(CMAKE_CUDA_COMPILER ${TANDEM_NVCC})
  set(CMAKE_CUDA_ARCHITECTURES ${TANDEM_CUDA_ARCHITECTURES})
  if(TANDEM_CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${TANDEM_CCACHE})
  endif()
  enable_language(CUDA)
  # CMake 3.25 does not know the flag of nvcc 12 and later.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA_STANDARD 20)
  find_package(CUDAToolkit REQUIRED)
  # Not tandem_options: its warnings are the host compiler's, and -Wpedantic minds nvcc's output.
  add_library(tandem_cuda_options INTERFACE)
  target_compile_options(tandem_cuda_options INTERFACE
    "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;--extended-lambda;-Werror=all-warnings;-Xcompiler=-Wall,-Wextra,-Werror>"
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-Wno-maybe-uninitialized;-Wno-dangling-pointer;-Werror>")
  target_include_directories(tandem_cuda_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
endif()
if(TANDEM_WITH_CUDA)
  message(STATUS "CUDA: ${TANDEM_NVCC} for ${TANDEM_CUDA_ARCHITECTURES}")
endif()

# tandem_cuda_library(NAME DEPENDS room... ABSENT file): the static library tandem_NAME, made of the
# *.cu and *.cpp files of this folder's `cuda` and the folders in it where CUDA is built, else of ABSENT alone, which says
# what is missing. Tests (*_test.cpp) and ABSENT are left out of the former.
function(tandem_cuda_library name)
  cmake_parse_arguments(CUDA "" "ABSENT" "DEPENDS" ${ARGN})
  list(TRANSFORM CUDA_DEPENDS PREPEND tandem_ OUTPUT_VARIABLE rooms)
  if(TANDEM_WITH_CUDA)
    tandem_cuda_sources(sources ${CMAKE_CURRENT_SOURCE_DIR}/cuda)
    add_library(tandem_${name} STATIC ${sources})
    target_link_libraries(tandem_${name} PRIVATE tandem_cuda_options CUDA::cudart_static
      PUBLIC $<LINK_ONLY:tandem_options>)
    foreach(room ${rooms})
      target_link_libraries(tandem_${name} PUBLIC $<LINK_ONLY:${room}>)
    endforeach()
  else()
    add_library(tandem_${name} STATIC ${CUDA_ABSENT})
    target_link_libraries(tandem_${name} PUBLIC tandem_options ${rooms})
  endif()
endfunction()

# tandem_cuda_sources(VARIABLE FOLDER): what a CUDA library of FOLDER is made of.
function(tandem_cuda_sources variable folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cu ${folder}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "(_test|/no_[a-z]+)\\.cpp$")
  set(${variable} ${sources} PARENT_SCOPE)
endfunction()
