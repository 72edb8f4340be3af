#!/bin/sh
# The emulated GPUs' tests under sanitizers: scripts/sanitize_emulation.sh asan|tsan [GoogleTest filter]
# Builds what they need in build/PRESET (half an hour on two cores, from nothing) and runs them.
# Without a filter of yours cuda_emulated_test runs the part that has every kind of model, split and
# failure: the rest has the same code with other types of blocks.
set -eu
cd "$(dirname "$0")/.."
preset="${1:?asan or tsan}"
part="EmulatedRuntime.*:CudaDevice*:CudaPlan*:*FusedOps*:*CudaReference*:CudaBatches.*"
programs="simt_test cuda_kernels_test cuda_group_test cuda_emulated_spine_test cuda_emulated_test"

cmake --preset "$preset" -DTANDEM_BUILD_TESTS=ON -DTANDEM_CUDA=OFF >/dev/null
# shellcheck disable=SC2086 # words on purpose
cmake --build "build/$preset" --target $programs
for program in $programs; do
  filter="*"
  [ "$program" = cuda_emulated_test ] && filter="${2:-$part}"
  "build/$preset/bin/$program" --gtest_brief=1 --gtest_filter="$filter"
done
