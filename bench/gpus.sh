#!/bin/sh
# What nobody has yet seen of Tandem on a real GPU (docs/cuda.md), in one run: the tests, NVIDIA's
# sanitizer, the kernels beside their ceilings, and whole models beside what the planner expects. Its
# output is Markdown for docs/performance.md. Wants GPUs that nobody else uses, a build of the preset
# `bench` with -DTANDEM_BUILD_TESTS=ON, and room for 5 GB of files (45 GB with a 70B model).
#
#   bench/gpus.sh > gpus.md             everything
#   bench/gpus.sh facts sanitizer       some sections: facts tests sanitizer kernels sharing models
#
# BUILD: the build (build/). TANDEM: the program ($BUILD/bin/tandem). MODELS: where files lie
# (/tmp/tandem-models). SHAPES: of the models (llama-3-8b, and llama-3-70b where the GPUs have 48 GB
# together). DEVICES: all GPUs. PROMPT, GEN, REPEAT: of each repetition, and how many (2048, 64, 5).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/../build}
tandem=${TANDEM:-$build/bin/tandem}
models=${MODELS:-/tmp/tandem-models}
prompt=${PROMPT:-2048}
gen=${GEN:-64}
repeat=${REPEAT:-5}

query() { nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits; }
title() { printf '\n## %s (%s)\n\n' "$1" "$(date -u '+%Y-%m-%d %H:%M:%S')"; }
show() {
  printf '    %s\n\n' "$*"
  "$@" 2>&1 | sed 's/^/    /'
}

gpus() {
  if [ -n "${DEVICES:-}" ]; then
    echo "$DEVICES"
  else
    query index | sed 's/^/cuda:/' | paste -sd, -
  fi
}
first_gpu() { gpus | cut -d, -f1 | cut -d'#' -f1; }
shapes() {
  if [ -n "${SHAPES:-}" ]; then
    echo "$SHAPES"
  elif [ "$(query memory.total | awk '{ sum += $1 } END { print int(sum / 1024) }')" -ge 48 ]; then
    echo llama-3-8b llama-3-70b
  else
    echo llama-3-8b
  fi
}
file_of() {  # SHAPE: the file with random weights of it, made where it is not there
  file=$models/$(printf %s "$1" | tr -c 'a-zA-Z0-9.-' '_' | cut -c1-40)-q4_k_m.gguf
  mkdir -p "$models"
  [ -s "$file" ] || "$tandem" model synth --shape "$1" --quant q4_k_m -o "$file" >&2
  echo "$file"
}
bench() {  # FILE DEVICES, further flags
  file=$1
  devices=$2
  shift 2
  show "$tandem" bench -m "$file" --devices "$devices" --prompt "$prompt" --gen "$gen" \
    --repeat "$repeat" "$@"
}

run_facts() {
  title "The machine"
  show query name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.max.mem
  show "$tandem" doctor --load
}

run_tests() {
  title "The tests on real GPUs"
  show ctest --test-dir "$build" -R '^gpu/' -j 1 --output-on-failure --quiet
}

# All kinds of ops and one model of each kind of split: the sanitizer is some hundred times slower.
run_sanitizer() {
  filter='CudaDevice*:*RowOps*:*Fused*:*CudaSplit*mistral*:*CudaSplit*qwen3moe*'
  for tool in memcheck racecheck synccheck; do
    title "compute-sanitizer, $tool"
    show compute-sanitizer --tool "$tool" --error-exitcode 1 "$build/bin/cuda_gpu_test" \
      --gtest_filter="$filter" --gtest_brief=1
  done
}

run_kernels() {
  title "Kernels"
  show "$build/bin/cuda_kernels_bench"
}

# What splitting costs by itself: two ranks of half the size on one GPU.
run_sharing() {
  gpu=$(first_gpu)
  for shape in $(shapes); do
    title "$shape, two ranks on $gpu"
    bench "$(file_of "$shape")" "$gpu#0,$gpu#1" --plans tensor
  done
}

# The first line of the ceilings has copy bandwidth and matrix rates; the links' the reduction of one
# token's hidden state. --calibrate goes to a file of its own.
run_models() {
  for shape in $(shapes); do
    title "$shape in q4_k_m on $(gpus)"
    bench "$(file_of "$shape")" "$(gpus)" --concurrency 1,8,32 \
      --calibrate "$models/calibration.json"
  done
}

[ $# -gt 0 ] || set -- facts tests sanitizer kernels sharing models
for section in "$@"; do
  case $section in
    facts | tests | sanitizer | kernels | sharing | models) "run_$section" ;;
    *)
      echo "no such section: $section" >&2
      exit 2
      ;;
  esac
done
