// The server through OpenAI's own client.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { startServer } from "./server.mjs";

let server;
let client;
before(async () => {
  // Tools are explained to the model at a length that its usual context does not hold.
  server = await startServer("--api-key", "a-key", "-c", "1024");
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "a-key", maxRetries: 0 });
});
after(async () => assert.equal(await server.stop(), 0));

const messages = [{ role: "user", content: "And God said" }];

test("lists the model", async () => {
  const models = await client.models.list();
  assert.equal(models.data.length, 1);
  assert.equal(models.data[0].object, "model");
});

test("answers a chat", async () => {
  const answer = await client.chat.completions.create(
    { model: "any", messages, max_completion_tokens: 12, temperature: 0 });
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("streams the same as it answers whole", async () => {
  const request = { model: "any", messages, max_tokens: 16, temperature: 0 };
  const whole = await client.chat.completions.create(request);
  const stream = await client.chat.completions.create(
    { ...request, stream: true, stream_options: { include_usage: true } });
  let text = "";
  let usage = null;
  const ids = new Set();
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
    ids.add(chunk.id);
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.deepEqual(usage.completion_tokens, whole.usage.completion_tokens);
  assert.equal(ids.size, 1);
});

test("the stream helper gathers a final message", async () => {
  const stream = client.beta.chat.completions.stream({ model: "any", messages, max_tokens: 8 });
  const final = await stream.finalChatCompletion();
  assert.equal(final.choices[0].message.role, "assistant");
});

test("same seed, same text", async () => {
  const request = { model: "any", messages, max_tokens: 16, temperature: 1.2, seed: 7, n: 2 };
  const a = await client.chat.completions.create(request);
  const b = await client.chat.completions.create(request);
  assert.deepEqual(a.choices.map((c) => c.message.content), b.choices.map((c) => c.message.content));
});

test("stop strings end the answer and are not in it", async () => {
  const answer = await client.completions.create(
    { model: "any", prompt: "In the beginning", max_tokens: 60, temperature: 0, stop: ["the", "and"] });
  assert.ok(!answer.choices[0].text.includes("the"));
});

test("log-probabilities are those of a distribution", async () => {
  const answer = await client.chat.completions.create(
    { model: "any", messages, max_tokens: 4, temperature: 0, logprobs: true, top_logprobs: 3 });
  for (const entry of answer.choices[0].logprobs.content) {
    assert.ok(entry.logprob <= 0);
    assert.equal(entry.top_logprobs.length, 3);
    assert.equal(entry.top_logprobs[0].token, entry.token);
  }
});

test("a schema is obeyed", async () => {
  const schema = { type: "object", properties: { n: { type: "integer" }, ok: { type: "boolean" } },
    required: ["n", "ok"], additionalProperties: false };
  const answer = await client.chat.completions.create({ model: "any", messages, max_tokens: 80,
    response_format: { type: "json_schema", json_schema: { name: "x", strict: true, schema } } });
  if (answer.choices[0].finish_reason === "stop") {
    const parsed = JSON.parse(answer.choices[0].message.content);
    assert.equal(typeof parsed.ok, "boolean");
    assert.ok(Number.isInteger(parsed.n));
  } else {
    assert.match(answer.choices[0].message.content, /^\s*\{/);
  }
});

const tools = [{ type: "function", function: { name: "light", description: "turns a light on or off",
  parameters: { type: "object", properties: { on: { type: "boolean" } }, required: ["on"], additionalProperties: false } } }];

test("a tool that must be called is called", async () => {
  for (const tool_choice of ["required", { type: "function", function: { name: "light" } }]) {
    const answer = await client.chat.completions.create(
      { model: "any", messages, tools, tool_choice, parallel_tool_calls: false, max_tokens: 200 });
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
    const [call] = answer.choices[0].message.tool_calls;
    assert.equal(call.function.name, "light");
    assert.equal(typeof JSON.parse(call.function.arguments).on, "boolean");
  }
});

test("the client runs tools and goes on", async () => {
  let turned = 0;
  const runner = client.beta.chat.completions.runTools({ model: "any", messages, max_tokens: 200, tool_choice: "required",
    parallel_tool_calls: false, tools: [{ type: "function", function: { ...tools[0].function, parse: JSON.parse,
      function: () => { ++turned; return "done"; } } }] }, { maxChatCompletions: 2 });
  await runner.done().catch(() => {});  // a forced call each time: the limit ends it
  assert.ok(turned >= 1);
});

test("embeddings have length 1 and depend on the text", async () => {
  const answer = await client.embeddings.create({ model: "any", input: ["in the beginning", "in the beginning", "water"] });
  assert.equal(answer.data.length, 3);
  const product = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const [a, b, c] = answer.data.map((entry) => entry.embedding);
  assert.ok(Math.abs(product(a, a) - 1) < 1e-3);
  assert.ok(product(a, b) > 0.999);
  assert.ok(product(a, c) < 0.999);
  const floats = await client.embeddings.create({ model: "any", input: "water", encoding_format: "float" });
  assert.ok(product(floats.data[0].embedding, c) > 0.999);
});

test("responses, whole and streamed", async () => {
  const request = { model: "any", input: "And God said", max_output_tokens: 12, temperature: 0 };
  const whole = await client.responses.create(request);
  assert.ok(whole.output_text.length > 0);
  let text = "";
  let last = null;
  for await (const event of await client.responses.create({ ...request, stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
    last = event;
  }
  assert.equal(text, whole.output_text);
  assert.equal(last.response.usage.output_tokens, whole.usage.output_tokens);
});

test("errors are OpenAI's", async () => {
  await assert.rejects(client.chat.completions.create({ model: "any", messages: [] }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "messages");
  const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  await assert.rejects(client.moderations.create({ input: "x" }), (error) => error.status === 501);
  await assert.rejects(client.completions.create({ model: "any", prompt: "word ".repeat(4000) }),
    (error) => error.code === "context_length_exceeded");
});

test("an aborted stream frees its slot", async () => {
  const stream = await client.chat.completions.create(
    { model: "any", messages, max_tokens: 200, stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta?.content) break;  // breaking aborts
  }
  const deadline = Date.now() + 3000;
  let busy = 1;
  while (busy > 0 && Date.now() < deadline) {
    const response = await fetch(`${server.url}/slots`, { headers: { "X-Api-Key": "a-key" } });
    busy = (await response.json()).filter((slot) => slot.is_processing).length;
  }
  assert.equal(busy, 0);
});
