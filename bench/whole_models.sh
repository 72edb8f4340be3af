#!/bin/sh
# The table of docs/performance.md: whole models beside the machine's ceilings, and beside
# llama.cpp. Wants a machine that nobody else uses; takes about 12 minutes on two cores, without
# the section `models`.
#
#   bench/whole_models.sh models                 makes the files (8 GB), once
#   bench/whole_models.sh > table.txt            everything else
#   bench/whole_models.sh types long faults      some sections: types concurrency long faults start
#                                                idle llama
#
# TANDEM: the program (build/bin/tandem). MODELS: where the files lie (/tmp/tandem-models).
# DEVICES: two single cores (cpu:0,cpu:1). REPEAT: repetitions (5). GEN: tokens decoded (32).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tandem=${TANDEM:-$here/../build/bin/tandem}
models=${MODELS:-/tmp/tandem-models}
devices=${DEVICES:-cpu:0,cpu:1}
repeat=${REPEAT:-5}
gen=${GEN:-32}
types="q4_k_m q8_0 q4_0 f16 bf16"
moe='{"name": "small-moe", "architecture": "llama", "layers": 12, "hidden": 1024, "heads": 16,
  "kv_heads": 4, "head_dim": 64, "ffn": 1792, "vocabulary": 32000, "context": 4096,
  "tied_embeddings": false, "experts": {"count": 8, "used": 2, "ffn": 1792}}'

title() { printf '\n## %s (%s)\n\n' "$1" "$(date -u +%H:%M:%S)"; }
show() {
  printf '    %s\n\n' "$*"
  "$@" 2>&1 | sed 's/^/    /'
}
bench() {  # FILE, further flags
  file=$1
  shift
  show "$tandem" bench -m "$models/$file" --devices "$devices" --repeat "$repeat" \
    --min-seconds 0.5 --ceiling-seconds 0.02 "$@"
}

make_models() {
  mkdir -p "$models"
  for type in $types; do
    [ -s "$models/l1b-$type.gguf" ] ||
      "$tandem" model synth --shape llama-3.2-1b --quant "$type" -o "$models/l1b-$type.gguf"
  done
  [ -s "$models/moe-q4_k_m.gguf" ] ||
    "$tandem" model synth --shape "$moe" --quant q4_k_m -o "$models/moe-q4_k_m.gguf"
}

run_types() {
  for type in $types; do
    title "llama-3.2-1b in $type"
    concurrency=1
    [ "$type" = q4_k_m ] && concurrency=1,8
    bench "l1b-$type.gguf" --prompt 512 --gen "$gen" --concurrency "$concurrency"
  done
  title "Small mixture of experts (8, 2 used) in q4_k_m"
  bench moe-q4_k_m.gguf --prompt 512 --gen "$gen" --concurrency 1
}

run_concurrency() {
  title "Sequences decoding together, q4_k_m"
  bench l1b-q4_k_m.gguf --plans tensor --prompt 64 --gen 16 --concurrency 1,2,4,8,16,32
}

run_long() {
  title "4096 tokens of context, q4_k_m"
  bench l1b-q4_k_m.gguf --plans tensor --prompt 4064 --gen "$gen"
}

# Each fault must be named as the main cause in the row of two devices.
run_faults() {
  title "Injected faults: a rank slowed by 20 %, a link by 50 us, a rank that becomes slower"
  bench l1b-q4_k_m.gguf --plans tensor --prompt 128 --gen 16 --inject-slowdown 0.2,0
  # A model whose layers are short, so that 50 us a message are its largest loss.
  show "$tandem" bench --devices "$devices" --plans tensor --prompt 64 --gen 64 --repeat 5 \
    --inject-link-delay-us 50
  show "$tandem" bench -m "$models/l1b-q4_k_m.gguf" --devices "$devices" --plans tensor --prompt 128 \
    --gen 16 --repeat 9 --min-seconds 0 --inject-slowdown 0.3,0 --inject-slowdown-from 86
}

# From the program's start to the first token, file in the page cache: the first start and a second.
run_start() {
  title "Start: q4_k_m, one token of answer"
  cat "$models/l1b-q4_k_m.gguf" > /dev/null
  for start in 1 2 3; do
    "$tandem" run -m "$models/l1b-q4_k_m.gguf" --devices "$devices" -p "Hello" -n 1 --json |
      python3 -c 'import json, sys
t = json.load(sys.stdin)["timings"]
print("    start %s: load %.2f s, then first token %.2f s" % (sys.argv[1], t["load_s"], t["prefill_s"]))' $start
  done
}

# Ticks of processor time of a server that nobody asks anything, over ten seconds.
run_idle() {
  title "Idle server"
  "$tandem" serve -m "$models/moe-q4_k_m.gguf" --devices "$devices" --port 18080 > /dev/null 2>&1 &
  server=$!
  sleep 5
  before=$(awk '{print $14 + $15}' /proc/$server/stat)
  sleep 10
  after=$(awk '{print $14 + $15}' /proc/$server/stat)
  kill $server
  wait $server || true
  printf '    %s ticks of 10 ms in 10 s\n' $((after - before))
}

run_llama() {
  title "Beside llama.cpp (npm's node-llama-cpp)"
  cd "$here/compare_llama_cpp"
  [ -d node_modules/node-llama-cpp ] || npm install --silent
  show node compare.mjs --tandem "$tandem" --repeat "$repeat" --gen "$gen" --threads 1,2 \
    --models "$models/l1b-q4_k_m.gguf,$models/l1b-q8_0.gguf"
  show node compare.mjs --tandem "$tandem" --repeat 3 --gen 16 --threads 2 \
    --models "$models/l1b-q4_0.gguf,$models/l1b-f16.gguf,$models/l1b-bf16.gguf,$models/moe-q4_k_m.gguf"
  cd - > /dev/null
}

[ $# -gt 0 ] || set -- types concurrency long faults start idle llama
for section in "$@"; do
  case $section in
    models) make_models ;;
    types | concurrency | long | faults | start | idle | llama) "run_$section" ;;
    *)
      echo "no such section: $section" >&2
      exit 2
      ;;
  esac
done
