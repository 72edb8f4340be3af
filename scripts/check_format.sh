#!/bin/sh
# Says which sources clang-format would change. Exit 1 if there are any.
set -eu
cd "$(dirname "$0")/.."
git ls-files 'src/*.h' 'src/*.cpp' 'src/*.cu' 'tests/*.h' 'tests/*.cpp' 'bench/*.h' 'bench/*.cpp' |
  xargs clang-format --dry-run --Werror
echo "format: every file is as clang-format has it"
