#!/bin/sh
# Installs the packages of scripts/packages.txt that are missing, with sudo where not root.
# Groups may be named to take only those ("tools libraries"); default: all.
set -eu
cd "$(dirname "$0")"

wanted() {
  if [ $# -eq 0 ]; then
    sed '/^#/d; /^ *$/d' packages.txt
    return
  fi
  for group in "$@"; do
    awk -v group="# $group" '/^#/ { on = ($0 == group); next } on && NF' packages.txt
  done
}

missing=""
for package in $(wanted "$@"); do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}
if ! command -v apt-get >/dev/null 2>&1; then
  echo "missing packages:$missing" >&2
  echo "this system has no apt-get; install their counterparts and try again" >&2
  exit 1
fi
echo "installing:$missing"
as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words on purpose
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing \
  >/tmp/tandem-apt.$$ 2>&1 || { cat /tmp/tandem-apt.$$ >&2; rm -f /tmp/tandem-apt.$$; exit 1; }
rm -f /tmp/tandem-apt.$$
