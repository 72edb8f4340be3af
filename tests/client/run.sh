#!/bin/sh
# run.sh PROGRAM WORK_DIR TEST.mjs: installs the locked npm packages under WORK_DIR and runs a test.
# 77 (CTest: skipped), saying why, where Node, the registry or, for the page, Chromium is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
TANDEM_PROGRAM=$(realpath "$1")
export TANDEM_PROGRAM
mkdir -p "$2"
work=$(cd "$2" && pwd)
# ./check prints what stands here after CTest's summary.
reason="$work/$3.skipped"
rm -f "$reason"
skip() { echo "SKIPPED: $1" | tee "$reason"; exit 77; }

command -v node >/dev/null && command -v npm >/dev/null || skip "no node and npm here (apt-get install nodejs npm)"
[ "$(node -p 'parseInt(process.versions.node)')" -ge 18 ] || skip "node is older than 18"
case "$3" in
  *page_test.mjs)
    command -v "${CHROMIUM:-chromium}" >/dev/null || skip "no chromium here (apt-get install chromium)" ;;
esac
cp "$here"/*.mjs "$here"/package.json "$here"/package-lock.json "$work"/
cd "$work"
# Installed once; again when the lock has changed. Tests that start together take turns.
exec 9>"$work/.install.lock"
flock 9
if ! cmp -s package-lock.json node_modules/.installed 2>/dev/null; then
  npm ci --no-audit --no-fund --loglevel=error || skip "the npm registry cannot be reached"
  cp package-lock.json node_modules/.installed
fi
flock -u 9
exec node --test "$3"
