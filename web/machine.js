// ---- the machine ----
const kParts = [["compute_s", "computing", "--c1"], ["wait_s", "waiting for peers", "--c2"], ["reduce_s", "reducing", "--c3"],
  ["stage_wait_s", "waiting for a stage", "--c4"], ["transfer_s", "between stages", "--c4"], ["output_s", "logits", "--c3"], ["idle_s", "idle", "--c5"]];
const kMemory = [["weights_bytes", "weights", "--c1"], ["kv_bytes", "KV cache", "--c2"], ["compute_bytes", "compute", "--c3"]];
const kHistory = 60;  // samples, one a second
let before = null;
let samples = [];  // {generated, prompt}: tokens/s
function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < 4) { count /= 1024; ++unit; }
  return `${count.toFixed(unit && count < 100 ? 1 : 0)} ${units[unit]}`;
}
function bar(label, parts, whole) {
  const shown = parts.filter(([, value]) => value > 0);
  const text = shown.map(([name, value, , words]) => `${name} ${words}`).join(", ");
  return make("div", { class: "bar", role: "img", "aria-label": `${label}: ${text}`, title: text },
    ...shown.map(([, value, color]) => make("i", { style: `width:${(100 * value / whole).toFixed(2)}%;background:var(${color})` })));
}
// The last minute's tokens/s as a line for each of generation and prompts.
function historyNode() {
  const names = [["generated", "generated", "--c1"], ["prompt", "of prompts", "--c2"]];
  const most = Math.max(1, ...samples.flatMap((sample) => [sample.generated, sample.prompt]));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${kHistory - 1} 40`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const latest = samples.at(-1) ?? { generated: 0, prompt: 0 };
  svg.setAttribute("aria-label", `Tokens per second over the last minute, now ${latest.generated.toFixed(1)} generated and ${latest.prompt.toFixed(1)} of prompts, at most ${most.toFixed(1)}`);
  for (const [key, , color] of names) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", samples.map((sample, i) =>
      `${kHistory - samples.length + i},${(39 - 38 * sample[key] / most).toFixed(2)}`).join(" "));
    line.setAttribute("style", `stroke:var(${color})`);
    svg.append(line);
  }
  return make("figure", { class: "history" }, make("figcaption", {}, `tokens/s, last minute, up to ${most.toFixed(most < 10 ? 1 : 0)}`), svg,
    legend(names.map(([key, name, color]) => [key, name, color])));
}
function card(value, label) {
  return make("div", { class: "card" }, make("b", {}, value), make("span", {}, label));
}
function rankNode(device, rank, old) {
  const memory = kMemory.map(([key, name, color]) => [name, rank?.[key] ?? device[key], color, bytes(rank?.[key] ?? device[key])]);
  const used = memory.reduce((sum, part) => sum + part[1], 0);
  const capacity = Math.max(device.capacity_bytes || used, used);
  const node = make("div", { class: "device" }, make("strong", {}, device.device), " ",
    make("small", {}, `${(100 * device.share).toFixed(0)} % of the stage, ${bytes(used)} of ${bytes(capacity)}`),
    bar(`Memory of ${device.device}`, memory, capacity));
  if (!rank) return node;
  const times = kParts.map(([key, name, color]) => [name, rank[key] - (old?.[key] ?? 0), color]);
  const whole = times.reduce((sum, part) => sum + part[1], 0) || 1;
  for (const part of times) part.push(`${(100 * part[1] / whole).toFixed(0)} %`);
  node.append(make("small", {}, "where its time goes"), bar(`Time of ${device.device}`, times, whole));
  return node;
}
function legend(parts) {
  const seen = new Map();
  for (const [, name, color] of parts) seen.set(color, (seen.has(color) ? seen.get(color) + " / " : "") + name);
  return make("div", { class: "legend" }, ...[...seen].map(([color, name]) =>
    make("span", {}, make("i", { style: `background:var(${color})` }), name)));
}
function showPlan(state) {
  const plan = state.plan;
  if (!plan) return;
  let index = 0;
  const arrow = () => make("div", { class: "arrow", "aria-hidden": "true" }, "→");
  const stages = plan.stages.map((stage, i) => make("div", { class: "stage" },
    make("h3", {}, plan.stages.length > 1 ? `Stage ${i + 1}: ` : "", `layers ${stage.first_layer} to ${stage.first_layer + stage.num_layers - 1}`),
    ...stage.devices.map((device) => {
      const rank = state.ranks[index];
      const old = before?.state.ranks[index];
      ++index;
      const moved = rank && old && rank.steps > old.steps;
      return rankNode(device, rank, moved ? old : undefined);
    })));
  const row = stages.flatMap((stage, i) => i ? [arrow(), stage] : [stage]);
  const groups = plan.stages.some((stage) => stage.devices.length > 1)
    ? ["Devices of one stage hold a part of each of its layers and add their results up twice a layer."] : [];
  const hints = plan.stages.length > 1 ? ["Stages hand hidden states on to the next.", ...groups] : groups;
  $("plan").replaceChildren(make("h2", {}, `Plan: ${plan.name}`), ...hints.map((hint) => make("p", { class: "hint" }, hint)),
    make("div", { class: "stages" }, ...row),
    make("div", { class: "keys" }, make("span", {}, "Memory:"), legend(kMemory)),
    make("div", { class: "keys" }, make("span", {}, "Time:"), legend(kParts)));
}
function stateOf(answer) {
  if (!answer.running) return "waiting";
  return answer.generated_tokens > 0 ? "generating" : "reading the prompt";
}
function showMachine(state) {
  const now = performance.now();
  const seconds = before ? (now - before.now) / 1000 : 0;
  const rate = (name) => before ? (state.counters[name] - before.state.counters[name]) / seconds : 0;
  const prompt = (counters) => counters.prompt_tokens - counters.cached_prompt_tokens;
  const prompts = before ? (prompt(state.counters) - prompt(before.state.counters)) / seconds : 0;
  if (before) samples = [...samples, { generated: rate("generated_tokens"), prompt: prompts }].slice(-kHistory);
  $("history").replaceChildren(historyNode());
  const drafted = state.counters.draft_tokens > 0
    ? [card(`${(100 * state.counters.draft_tokens_accepted / state.counters.draft_tokens).toFixed(0)} %`, "guesses that were right")] : [];
  const predicted = state.plan?.predicted?.decode_tokens_per_s
    ? [card(state.plan.predicted.decode_tokens_per_s.toFixed(1), "tokens/s predicted for one answer")] : [];
  const running = state.answers.filter((answer) => answer.running).length;
  $("cards").replaceChildren(
    card(rate("generated_tokens").toFixed(1), "tokens/s generated"),
    card(prompts.toFixed(1), "prompt tokens/s"), ...predicted,
    card(`${running} of ${state.max_sequences}`, "answers running"),
    card(String(state.answers.length - running), "waiting"),
    card(`${(100 * state.kv.blocks_owned / state.kv.blocks_total).toFixed(0)} %`, "KV cache in use"),
    card(`${(100 * state.kv.blocks_cached / state.kv.blocks_total).toFixed(0)} %`, "KV cache kept for later"),
    card(state.counters.step_s > 0 ? `${(100 * state.counters.engine_s / (state.counters.step_s + state.counters.engine_s)).toFixed(1)} %` : "-", "between steps"),
    card(String(state.counters.requests_finished), "requests done"), ...drafted);
  showPlan(state);
  $("requests").replaceChildren(...state.answers.map((answer) => make("tr", {},
    make("td", {}, String(answer.request)), make("td", { class: "words" }, stateOf(answer)),
    ...[answer.prompt_tokens, answer.computed_tokens, answer.generated_tokens, answer.max_tokens]
      .map((value) => make("td", {}, String(value))),
    make("td", {}, make("progress", { max: answer.prompt_tokens + answer.max_tokens, value: answer.computed_tokens,
      "aria-label": `Request ${answer.request}` })))));
  if (state.answers.length === 0) $("requests").append(make("tr", {}, make("td", { class: "words", colspan: 7 }, "none")));
  $("machine-error").textContent = state.failure ?? "";
  before = { now, state };
}
async function watchMachine() {
  if (models.length === 0) return;  // whose machine is not known yet
  if ($("machine").hidden || document.hidden) return;
  try {
    const response = await fetch(`machine${isFleet ? `?model=${encodeURIComponent(chosenModel() ?? models[0].id)}` : ""}`, { headers: headers() });
    if (!response.ok) throw new Error((await response.json()).error?.message ?? response.statusText);
    showMachine(await response.json());
  } catch (error) {
    $("machine-error").textContent = error.message;
  }
}
setInterval(watchMachine, 1000);
