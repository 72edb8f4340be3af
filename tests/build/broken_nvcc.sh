#!/bin/sh
# broken_nvcc.sh CMAKE: configures a small project where the first nvcc on the PATH has lost its
# toolkit, and looks at what CMake says and how it ends.
set -eu
cmake="$1"
source="$(cd "$(dirname "$0")" && pwd)"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
printf '#!/bin/sh\necho "nvcc: /opt/cuda/bin/nvcc: not found" >&2\nexit 127\n' >"$folder/bin/nvcc"
chmod +x "$folder/bin/nvcc"
unset CUDACXX
PATH="$folder/bin:$PATH"
export PATH

fail() {
  echo "$1:" >&2
  cat "$folder/said" >&2
  exit 1
}
# CMake breaks long lines where it likes.
says() {
  tr -s ' \n' ' ' <"$folder/said" | grep -q "$1" || fail "'$1' was not said"
}

"$cmake" -S "$source" -B "$folder/auto" -DTANDEM_CUDA=AUTO >"$folder/said" 2>&1 ||
  fail "AUTO does not go on without CUDA"
says "building without CUDA: $folder/bin/nvcc makes no program (127): nvcc: /opt/cuda/bin/nvcc: not found"
if "$cmake" -S "$source" -B "$folder/on" -DTANDEM_CUDA=ON >"$folder/said" 2>&1; then
  fail "ON goes on without CUDA"
fi
says "TANDEM_CUDA=ON, but $folder/bin/nvcc makes no program (127)"
"$cmake" -S "$source" -B "$folder/off" -DTANDEM_CUDA=OFF >"$folder/said" 2>&1 ||
  fail "OFF looks for nvcc"
