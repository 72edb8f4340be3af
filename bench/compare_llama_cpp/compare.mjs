#!/usr/bin/env node
// Tandem beside llama.cpp on the same file with as many threads, one after the other in turns, so
// that a change of the machine's speed meets both. Medians, and how far apart the runs lay.
//
//   cd bench/compare_llama_cpp && npm install
//   node compare.mjs --tandem ../../build/bin/tandem [--types q4_k_m,q8_0,q4_0,f16,bf16]
//       [--shape llama-3.2-1b | --models a.gguf,b.gguf] [--threads 1,2] [--prompt 512] [--gen 32]
//       [--streams 1] [--repeat 5] [--dir /tmp] [--json FILE]
//
// Files that --shape and --types name are made by `tandem model synth` in --dir and removed again.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const flags = { tandem: "../../build/bin/tandem", types: "q4_k_m,q8_0,q4_0,f16,bf16", shape: "llama-3.2-1b",
  models: "", threads: "1,2", prompt: "512", gen: "32", streams: "1", repeat: "5", dir: "/tmp", json: "" };
for (let i = 2; i < process.argv.length; i += 2) {
  const name = process.argv[i].replace(/^--/, "");
  if (!(name in flags) || process.argv[i + 1] === undefined) {
    console.error(`unknown flag or no value: ${process.argv[i]}`);
    process.exit(2);
  }
  flags[name] = process.argv[i + 1];
}
const numbers = (text) => text.split(",").map(Number);
const promptTokens = Number(flags.prompt);
const genTokens = Number(flags.gen);
const maxStreams = Math.max(...numbers(flags.streams));
const context = (promptTokens + genTokens + 64) * maxStreams;
const worker = fileURLToPath(new URL("llama_worker.mjs", import.meta.url));

// Lines of a child as a queue of promises; what it says to standard error is kept for a failure.
function start(command, args) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
  let complaint = "";
  child.stderr.on("data", (data) => { complaint = (complaint + data).slice(-2000); });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    async line() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${command} ${args[0]} ended: ${complaint}`);
      return JSON.parse(value);
    },
    complaint: () => complaint,
  };
}

class LlamaCpp {
  async open(file, threads) {
    this.process = start(process.execPath, [worker, file, threads, context, maxStreams]);
    await this.process.line();
  }
  measure(streams) {
    this.process.child.stdin.write(`${promptTokens} ${genTokens} ${streams}\n`);
    return this.process.line();
  }
  close() { this.process.child.kill(); }
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

class Tandem {
  async open(file, threads) {
    const port = await freePort();
    this.url = `http://127.0.0.1:${port}`;
    const device = threads === 1 ? "cpu:0" : `cpu:0-${threads - 1}`;
    this.process = start(flags.tandem, ["serve", "-m", file, "--devices", device, "-c", context,
      "-np", maxStreams, "--host", "127.0.0.1", "--port", port, "--no-webui"]);
    for (let tries = 0; tries < 600; ++tries) {
      const health = await fetch(`${this.url}/health`).catch(() => null);
      if (health?.ok) break;
      if (this.process.child.exitCode !== null) throw new Error(`tandem: ${this.process.complaint()}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const { data } = await (await fetch(`${this.url}/v1/models`)).json();
    this.vocabulary = data[0].meta.n_vocab;
  }
  async measure(streams) {
    const began = performance.now();
    const answers = await Promise.all(Array.from({ length: streams }, async (_, stream) => {
      const prompt = Array.from({ length: promptTokens },
        (_, i) => ((i + 17 * stream) * 7919 + 131) % this.vocabulary);
      const response = await fetch(`${this.url}/completion`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt, n_predict: genTokens, temperature: 0, ignore_eos: true, cache_prompt: false }),
      });
      const answer = await response.json();
      if (!answer.timings) throw new Error(`tandem: ${JSON.stringify(answer)}`);
      return answer.timings;
    }));
    const elapsed = performance.now() - began;
    if (streams === 1) {
      return { prefill_tokens_per_s: answers[0].prompt_per_second,
        decode_tokens_per_s: answers[0].predicted_per_second };
    }
    // Together: the last prompt's end divides the time.
    const prefill = Math.max(...answers.map((timings) => timings.prompt_ms));
    return { prefill_tokens_per_s: 1000 * promptTokens * streams / prefill,
      decode_tokens_per_s: 1000 * (genTokens - 1) * streams / (elapsed - prefill) };
  }
  close() { this.process.child.kill(); }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
function summary(runs, field) {
  const values = runs.map((run) => run[field]);
  return { median: median(values), low: Math.min(...values), high: Math.max(...values) };
}

function print(row) {
  const cell = ({ median, low, high }) => `${median.toFixed(1)} (${low.toFixed(1)}-${high.toFixed(1)})`;
  for (const field of ["prefill_tokens_per_s", "decode_tokens_per_s"]) {
    const ours = row.tandem[field];
    const theirs = row.llama_cpp[field];
    console.log(`| ${row.file} | ${row.threads} | ${row.streams} | ${field.split("_")[0]} | ${cell(ours)} | ` +
      `${cell(theirs)} | ${(ours.median / theirs.median).toFixed(2)}x |`);
  }
}

async function compare(name, file) {
  const rows = [];
  for (const threads of numbers(flags.threads)) {
    const engines = { tandem: new Tandem(), llama_cpp: new LlamaCpp() };
    try {
      for (const engine of Object.values(engines)) await engine.open(file, threads);
      for (const streams of numbers(flags.streams)) {
        const runs = { tandem: [], llama_cpp: [] };
        for (let i = 0; i <= Number(flags.repeat); ++i) {
          for (const [engine, list] of Object.entries(runs)) {
            const run = await engines[engine].measure(streams);
            if (i > 0) list.push(run);  // the first warms up
          }
        }
        const row = { file: name, threads, streams };
        for (const [engine, list] of Object.entries(runs)) {
          row[engine] = { prefill_tokens_per_s: summary(list, "prefill_tokens_per_s"),
            decode_tokens_per_s: summary(list, "decode_tokens_per_s") };
        }
        print(row);
        rows.push(row);
      }
    } finally {
      for (const engine of Object.values(engines)) if (engine.process) engine.close();
    }
  }
  return rows;
}

const all = [];
console.log(`prompt ${promptTokens}, answer ${genTokens} tokens; tokens/s, medians of ${flags.repeat} (range)\n`);
console.log("| file | threads | streams | phase | Tandem | llama.cpp | ratio |\n|---|---|---|---|---|---|---|");
if (flags.models !== "") {
  for (const file of flags.models.split(",")) all.push(...await compare(file.split("/").pop(), file));
} else {
  for (const type of flags.types.split(",")) {
    const file = `${flags.dir}/compare-${flags.shape}-${type}.gguf`;
    const wasThere = existsSync(file);
    try {
      if (!wasThere) {
        const made = spawnSync(flags.tandem, ["model", "synth", "--shape", flags.shape, "--quant", type, "-o", file],
          { encoding: "utf8" });
        if (made.status !== 0) throw new Error(`model synth: ${made.stderr ?? made.error}`);
      }
      all.push(...await compare(`${flags.shape} ${type}`, file));
    } finally {
      if (!wasThere) rmSync(file, { force: true });
    }
  }
}
if (flags.json) writeFileSync(flags.json, JSON.stringify(all, null, 1) + "\n");
