// One model in llama.cpp (node-llama-cpp, its prebuilt binary). For each line "PROMPT GEN STREAMS"
// on standard input: the prompt once, then GEN tokens, for STREAMS sequences at once; answers a line
// of JSON. Arguments: FILE THREADS CONTEXT STREAMS.

import { createInterface } from "node:readline";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [file, threads, context, streams] = process.argv.slice(2);
const llama = await getLlama({
  build: "never", gpu: false, maxThreads: 0, logLevel: LlamaLogLevel.error, skipDownload: true,
  progressLogs: false,
});
const loaded = performance.now();
const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
const session = await model.createContext({
  contextSize: Number(context), batchSize: 512, sequences: Number(streams), flashAttention: true,
  threads: { ideal: Number(threads), min: Number(threads) },
});
const sequences = Array.from({ length: Number(streams) }, () => session.getSequence());
const vocabulary = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
console.log(JSON.stringify({ load_s: (performance.now() - loaded) / 1000 }));

// The same tokens as Tandem gets.
function prompt(length, stream) {
  return Array.from({ length }, (_, i) => ((i + 17 * stream) * 7919 + 131) % vocabulary);
}

async function once(promptTokens, genTokens, numStreams) {
  const used = sequences.slice(0, numStreams);
  for (const sequence of used) await sequence.clearHistory();
  const options = { temperature: 0, yieldEogToken: true };
  const answers = used.map((sequence, i) => sequence.evaluate(prompt(promptTokens, i), options));
  const began = performance.now();
  await Promise.all(answers.map((answer) => answer.next()));
  const first = performance.now();
  let tokens = 0;
  await Promise.all(answers.map(async (answer) => {
    for (let i = 1; i < genTokens; ++i) {
      if ((await answer.next()).done) break;
      ++tokens;
    }
  }));
  const end = performance.now();
  await Promise.all(answers.map((answer) => answer.return()));
  return {
    prefill_tokens_per_s: 1000 * promptTokens * numStreams / (first - began),
    decode_tokens_per_s: 1000 * tokens / (end - first),
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const [promptTokens, genTokens, numStreams] = line.split(" ").map(Number);
  console.log(JSON.stringify(await once(promptTokens, genTokens, numStreams)));
}
process.exit(0);
