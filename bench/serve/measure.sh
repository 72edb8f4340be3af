#!/bin/sh
# measure.sh [PROGRAM [FOLDER]]: the figures of docs/serving.md, on this machine. Needs Node, curl and
# an otherwise idle machine; the last run takes ten minutes. FOLDER keeps model, logs and results
# (latency.csv as well).
#   latency   1 to 64 streams (STREAMS=1,8: some): latencies, rates, processor time of the server's threads
#   intruder  a prompt of some 4,000 tokens comes in while 4 streams run
#   endurance 64 streams for ten minutes with 2,000 idle connections, then 1,000 aborted clients
# STEPS="latency intruder" takes some of them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../../build/bin/tandem}
folder=${2:-/tmp/tandem-serve}
mkdir -p "$folder"
model="$folder/llama-3.2-1b-q4_k_m.gguf"
[ -e "$model" ] || "$program" model synth --shape llama-3.2-1b --quant q4_k_m \
  --tokenizer-from "$here/../../models/kjv-tiny-q8_0.gguf" -o "$model"
ulimit -n 20000 2>/dev/null || true

# start FLAGS...: a server on a free port; sets url and server.
start() {
  log="$folder/server.log"
  "$program" serve -m "$model" --port 0 --access-log none "$@" 2>"$log" &
  server=$!
  url=""
  for _ in $(seq 1 600); do
    url=$(sed -n 's/.* on \(http[^ ]*\)$/\1/p' "$log")
    [ -z "$url" ] || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  cat "$log" >&2
  exit 1
}
stop() { kill "$server"; wait "$server"; }
load() { node "$here/load.mjs" --url "$url" --pid "$server" "$@"; }

for step in ${STEPS:-latency intruder endurance}; do
  echo "== $step"
  case $step in
    latency)
      start -c 512 -np 64
      load --streams 1 --requests 1 --prompt 8 --gen 8 >/dev/null 2>&1
      load --streams "${STREAMS:-1,2,4,8,16,32,64}" --requests 1.5x --prompt 16-64 --gen 16-48 --csv "$folder/latency.csv"
      stop ;;
    intruder)
      start -c 6144 -np 5 --kv-tokens 20000
      load --streams 4 --seconds 6 --intruder 4096
      stop ;;
    endurance)
      start -c 512 -np 64 --kv-tokens 8192  # full within a minute: memory must not grow after
      load --streams 64 --seconds "${SECONDS_LONG:-600}" --prompt 16-128 --gen 16-64 --idle 2000
      load --streams 1 --requests 1 --prompt 8 --gen 4 --aborts 1000
      stop ;;
    *) echo "no such step: $step" >&2; exit 2 ;;
  esac 2>&1 | tee "$folder/$step.txt"
done
