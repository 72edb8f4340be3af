#!/usr/bin/env node
// Puts load on an OpenAI-compatible server and measures what its clients see. Node >= 18, no packages.
//
//   node bench/serve/load.mjs --url http://127.0.0.1:8080 --streams 1,8,32 --requests 64
//       [--prompt 128 | --prompt 32-512] [--gen 64 | --gen 16-128] [--seconds 600] [--key KEY]
//       [--idle 2000] [--aborts 1000] [--csv out.csv]
//
// Prompts are random words, different for each request (--same: one for all, for the prefix cache).
// Per number of streams: time to first token, time between tokens (p50, p95, p99), tokens/s of all
// streams together, errors. --idle holds that many silent connections meanwhile; --aborts then
// connects and goes away that often and looks for what was left behind.

import { appendFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";

const flags = { url: "http://127.0.0.1:8080", streams: "1", requests: "16", prompt: "64", gen: "64",
  seconds: "0", key: "", idle: "0", aborts: "0", csv: "", seed: "1" };
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
function complete() {
  const body = JSON.stringify({ model: "any", prompt: promptOf(within(flags.prompt)), max_tokens: within(flags.gen),
    ignore_eos: true, stream: true, stream_options: { include_usage: true } });
  const begin = performance.now();
  const result = { times: [], tokens: 0, prompt: 0, error: null };
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
  const total = Number(flags.requests);
  const begin = performance.now();
  const results = [];
  let started = 0;
  const goesOn = () => limit > 0 ? performance.now() - begin < limit : started < total;
  await Promise.all(Array.from({ length: streams }, async () => {
    while (goesOn()) {
      ++started;
      results.push(await complete());
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
    itl_p50_ms: percentile(gaps, 0.5), itl_p95_ms: percentile(gaps, 0.95), itl_p99_ms: percentile(gaps, 0.99) };
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

let header = false;
for (const streams of flags.streams.split(",").map(Number)) {
  const before = await engineTimes();
  const row = await run(streams);
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
  console.log(`after ${flags.aborts} aborts: ${left}, ${connections} connections`);
}
agent.destroy();
