#!/bin/sh
# measure.sh [BUILD]: the figures of docs/fleet.md, on this machine. BUILD has been configured with
# TANDEM_BUILD_BENCH=ON and TANDEM_BUILD_TESTS=ON. Needs two cores; `router` an otherwise idle machine.
#   router   added latency at 100 streams, and events per second over one core
#   chaos    10,000 requests while workers are killed and hung, upstreams slow down, the file changes
#   soak     ten minutes of all that clients do: memory and descriptors
# STEPS="router chaos" takes some of them; SOAK_SECONDS and CHAOS_REQUESTS make them shorter.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build}
for step in ${STEPS:-router chaos soak}; do
  echo "== $step"
  case $step in
    # First in line, where that is allowed: a core that is taken away for a while is no latency of ours.
    router) nice -n -20 "$build/bin/router_bench" "$build/bin/tandem" "${SECONDS_EACH:-5}" ;;
    chaos) TANDEM_CHAOS_REQUESTS=${CHAOS_REQUESTS:-10000} "$build/bin/fleet_test" \
             --gtest_filter='FleetChaosTest.*' 2>/dev/null | grep -E 'whole|OK|FAILED|Failure' ;;
    soak) TANDEM_SOAK_SECONDS=${SOAK_SECONDS:-600} "$build/bin/fleet_test" \
            --gtest_filter='FleetSoakTest.*' 2>/dev/null | grep -E 'requests:|OK|FAILED|Failure' ;;
    *) echo "no such step: $step" >&2; exit 2 ;;
  esac
done
