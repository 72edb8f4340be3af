#!/usr/bin/env node
// Puts load on an OpenAI-compatible server and measures what its clients see. Node >= 18, no packages.
//
//   node bench/serve/load.mjs --url http://127.0.0.1:8080 --streams 1,8,32 --requests 64 | --requests 2x
//       [--prompt 128 | --prompt 32-512] [--gen 64 | --gen 16-128] [--seconds 600] [--key KEY]
//       [--idle 2000] [--aborts 1000] [--intruder 3000] [--pid PID] [--csv out.csv]
//
// --requests 2x: two for each stream, at least four. Prompts are random words, different for each request (--same: one for all, for the prefix cache).
// Per number of streams: time to first token, time between tokens (p50, p95, p99), tokens/s of all
// streams together, errors, the fewest and most requests that a stream got through. --idle holds that
// many silent connections meanwhile; --aborts then connects and goes away that often and looks for what
// was left behind. --intruder sends one prompt of that many words into the running streams and compares
// the times between their tokens before it and while it comes in. --pid watches a server on this
// machine: its memory over time, its descriptors, and the processor time of its threads by name; what
// HTTP and the engine (scheduling, sampling, text) take of it is in the table.

import { appendFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";

const flags = { url: "http://127.0.0.1:8080", streams: "1", requests: "16", prompt: "64", gen: "64",
  seconds: "0", key: "", idle: "0", aborts: "0", csv: "", seed: "1", intruder: "0", pid: "" };
const same = process.argv.includes("--same");
const given = process.argv.slice(2).filter((flag) => flag !== "--same");
for (let i = 0; i < given.length; i += 2) {
  const name = given[i].replace(/^--/, "");
  if (!(name in flags) || given[i + 1] === undefined) {
    console.error(`unknown flag or no value: ${given[i]}`);
    process.exit(2);
  }
  flags[name] = given[i + 1];
}
const url = new URL(flags.url);
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });

// xorshift32: the same load for the same seed.
let state = Number(flags.seed) * 2654435761 >>> 0 || 1;
function random() {
  state ^= state << 13; state >>>= 0;
  state ^= state >>> 17;
  state ^= state << 5; state >>>= 0;
  return state / 2 ** 32;
}
function within(range) {
  const [low, high] = range.split("-").map(Number);
  return high ? Math.floor(low + random() * (high - low + 1)) : low;
}
const kWords = ["the", "house", "of", "water", "and", "light", "upon", "a", "great", "land", "he", "said"];
function promptOf(words) {
  const text = [];
  for (let i = 0; i < words; ++i) text.push(same ? kWords[i % kWords.length] : kWords[Math.floor(random() * kWords.length)]);
  return text.join(" ");
}

function get(path) {
  return new Promise((resolve, reject) => {
    http.get({ host: url.hostname, port: url.port, path, agent, headers: { Authorization: `Bearer ${flags.key}` } },
      (response) => {
        let text = "";
        response.on("data", (data) => { text += data; });
        response.on("end", () => resolve(text));
      }).on("error", reject);
  });
}

// One streamed completion: when its texts came, in ms, and the server's token counts.
function complete(words = within(flags.prompt), tokens = within(flags.gen)) {
  const body = JSON.stringify({ model: "any", prompt: promptOf(words), max_tokens: tokens,
    ignore_eos: true, stream: true, stream_options: { include_usage: true } });
  const begin = performance.now();
  const result = { begin, times: [], tokens: 0, prompt: 0, error: null };
  return new Promise((resolve) => {
    const fail = (error) => { result.error = String(error); resolve(result); };
    const request = http.request({ host: url.hostname, port: url.port, path: "/v1/completions", method: "POST", agent,
      headers: { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body), Authorization: `Bearer ${flags.key}` } },
    (response) => {
      let text = "";
      response.on("data", (data) => {
        text += data;
        const events = text.split("\n\n");
        text = events.pop();
        for (const event of events) {
          if (!event.startsWith("data: {")) continue;
          const json = JSON.parse(event.slice(6));
          if (json.error) return fail(json.error.message);
          if (json.choices[0]?.text) result.times.push(performance.now() - begin);
          if (json.usage) { result.tokens = json.usage.completion_tokens; result.prompt = json.usage.prompt_tokens; }
        }
      });
      response.on("end", () => {
        if (response.statusCode !== 200) return fail(`status ${response.statusCode}: ${text.slice(0, 200)}`);
        result.total = performance.now() - begin;
        resolve(result);
      });
      response.on("error", fail);
    });
    request.on("error", fail);
    request.end(body);
  });
}

function percentile(values, part) {
  if (values.length === 0) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
}

async function run(streams) {
  const limit = Number(flags.seconds) * 1000;
  const total = flags.requests.endsWith("x") ? Math.max(4, Math.ceil(parseFloat(flags.requests) * streams)) : Number(flags.requests);
  const begin = performance.now();
  const results = [];
  let started = 0;
  const goesOn = () => limit > 0 ? performance.now() - begin < limit : started < total;
  const perStream = new Array(streams).fill(0);
  await Promise.all(Array.from({ length: streams }, async (_, stream) => {
    while (goesOn()) {
      ++started;
      results.push(await complete());
      ++perStream[stream];
    }
  }));
  const seconds = (performance.now() - begin) / 1000;
  const good = results.filter((result) => !result.error);
  for (const { error } of results.filter((result) => result.error).slice(0, 3)) console.error(`error: ${error}`);
  const firsts = good.map((result) => result.times[0]).filter((time) => time !== undefined);
  const gaps = good.flatMap(({ times }) => times.slice(1).map((time, i) => time - times[i]));
  const tokens = good.reduce((sum, result) => sum + result.tokens, 0);
  const prompts = good.reduce((sum, result) => sum + result.prompt, 0);
  return { streams, requests: results.length, errors: results.length - good.length, seconds,
    tokens_per_s: tokens / seconds, prompt_tokens_per_s: prompts / seconds,
    ttft_p50_ms: percentile(firsts, 0.5), ttft_p95_ms: percentile(firsts, 0.95), ttft_p99_ms: percentile(firsts, 0.99),
    itl_p50_ms: percentile(gaps, 0.5), itl_p95_ms: percentile(gaps, 0.95), itl_p99_ms: percentile(gaps, 0.99),
    longest_wait_ms: [...firsts, ...gaps].reduce((most, time) => Math.max(most, time), 0), fewest: Math.min(...perStream), most: Math.max(...perStream) };
}

// How much a long prompt slows those who read along: the times between their tokens while it comes in,
// against those of as long a time before.
async function intrude(streams, words) {
  const running = Promise.all(Array.from({ length: streams }, () => complete(8, 100000)));
  await new Promise((resolve) => setTimeout(resolve, Number(flags.seconds) * 1000 || 5000));
  const begin = performance.now();
  const intruder = await complete(words, 1);
  const end = performance.now();
  agent.destroy();  // the streams have shown what they had to
  const results = await running;
  const gaps = (from, to) => results.flatMap((result) => result.times.slice(1)
    .map((time, i) => ({ at: result.begin + time, gap: time - result.times[i] }))
    .filter(({ at }) => at > from && at < to).map(({ gap }) => gap));
  const before = gaps(begin - (end - begin), begin);
  const during = gaps(begin, end);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return { streams, intruder_tokens: intruder.prompt, intruder_error: intruder.error ?? "", ttft_ms: intruder.times[0],
    before_p50_ms: percentile(before, 0.5), during_p50_ms: percentile(during, 0.5), before_mean_ms: mean(before),
    during_mean_ms: mean(during), slowdown_p50: percentile(during, 0.5) / percentile(before, 0.5),
    slowdown_mean: mean(during) / mean(before), during_p99_ms: percentile(during, 0.99), gaps_during: during.length };
}

// ---- the server's process, where it runs on this machine ----
function threadSeconds() {
  const seconds = {};
  for (const task of readdirSync(`/proc/${flags.pid}/task`)) {
    const stat = readFileSync(`/proc/${flags.pid}/task/${task}/stat`, "utf8");
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    seconds[name] = (seconds[name] ?? 0) + (Number(fields[11]) + Number(fields[12])) / 100;  // utime, stime in USER_HZ
  }
  return seconds;
}
// Its own memory, and the pages of mapped files (the model) that the kernel keeps or drops as it likes.
function residentMib() {
  const status = readFileSync(`/proc/${flags.pid}/status`, "utf8");
  return ["RssAnon", "RssFile"].map((name) => Number(status.match(new RegExp(`${name}:\\s*(\\d+)`))[1]) / 1024);
}
const descriptors = () => readdirSync(`/proc/${flags.pid}/fd`).length;
class ProcessWatch {
  constructor() {
    this.memory = [];
    this.threads = threadSeconds();
    this.begin = performance.now();
    this.timer = setInterval(() => this.memory.push(residentMib()), 1000);
  }
  stop() {
    clearInterval(this.timer);
    const seconds = (performance.now() - this.begin) / 1000;
    const after = threadSeconds();
    const spent = Object.fromEntries(Object.keys(after).map((name) => [name, after[name] - (this.threads[name] ?? 0)]));
    const words = Object.entries(spent).map(([name, time]) => `${name} ${time.toFixed(2)} s`);
    const at = (part) => this.memory[Math.floor(part * (this.memory.length - 1))]?.map((mib) => mib.toFixed(1)).join(" + ");
    console.error(`processor time in ${seconds.toFixed(1)} s: ${words.join(", ")}`);
    console.error(`resident memory (own + mapped files) in MiB after 10, 25, 50, 75, 100 % of the time: ${[0.1, 0.25, 0.5, 0.75, 1].map(at).join(", ")}; descriptors: ${descriptors()}`);
    const all = Object.values(spent).reduce((sum, time) => sum + time, 0);
    return 100 * ((spent.http ?? 0) + (spent.engine ?? 0)) / all;
  }
}

// The server's own view: what part of its steps' time it spends between them.
async function engineTimes() {
  try {
    return JSON.parse(await get("/machine")).counters;
  } catch {
    return null;
  }
}

const shown = (value) => typeof value === "number" && !Number.isInteger(value) ? value.toFixed(2) : String(value);
const idle = [];
for (let i = 0; i < Number(flags.idle); ++i) {
  idle.push(await new Promise((resolve, reject) => {
    const socket = net.connect(Number(url.port), url.hostname, () => resolve(socket));
    socket.on("error", reject);
  }));
}
if (idle.length > 0) console.error(`${idle.length} idle connections held`);

if (Number(flags.intruder) > 0) {
  for (const streams of flags.streams.split(",").map(Number)) {
    const row = await intrude(streams, Number(flags.intruder));
    for (const [name, value] of Object.entries(row)) console.log(`${name}: ${shown(value)}`);
  }
  process.exit(0);
}

let header = false;
for (const streams of flags.streams.split(",").map(Number)) {
  const before = await engineTimes();
  const watch = flags.pid ? new ProcessWatch() : null;
  const row = await run(streams);
  if (watch) row.http_and_engine_percent = watch.stop();
  const after = await engineTimes();
  if (before && after) {
    const engine = after.engine_s - before.engine_s;
    row.between_steps_percent = 100 * engine / (engine + after.step_s - before.step_s);
  }
  if (!header) {
    console.log(Object.keys(row).join(","));
    if (flags.csv) writeFileSync(flags.csv, Object.keys(row).join(",") + "\n");
    header = true;
  }
  console.log(Object.values(row).map(shown).join(","));
  if (flags.csv) appendFileSync(flags.csv, Object.values(row).map(shown).join(",") + "\n");
}
for (const socket of idle) socket.destroy();

if (Number(flags.aborts) > 0) {
  for (let i = 0; i < Number(flags.aborts); ++i) {
    await new Promise((resolve) => {
      const socket = net.connect(Number(url.port), url.hostname, () => {
        const body = JSON.stringify({ prompt: promptOf(20), max_tokens: 1000, stream: i % 2 === 0 });
        socket.write(`POST /v1/completions HTTP/1.1\r\nHost: ${url.host}\r\nAuthorization: Bearer ${flags.key}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        setTimeout(() => { socket.destroy(); resolve(); }, random() * 5);
      });
      socket.on("error", resolve);
    });
  }
  let left = "";
  for (let i = 0; i < 100; ++i) {
    const machine = JSON.parse(await get("/machine"));
    left = `${machine.answers.length} answers, ${machine.kv.blocks_owned} blocks`;
    if (machine.answers.length === 0 && machine.kv.blocks_owned === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const connections = (await get("/metrics")).match(/^tandem:connections (\d+)/m)?.[1];
  const open = flags.pid ? `, ${descriptors()} descriptors` : "";
  console.log(`after ${flags.aborts} aborts: ${left}, ${connections} connections${open}`);
}
agent.destroy();
