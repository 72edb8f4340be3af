"use strict";

// ---- small helpers ----
const $ = (id) => document.getElementById(id);
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined));
  return node;
}

// ---- what the browser keeps ----
function load(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
function save() {
  // What does not fit into the browser's store drops the oldest conversation.
  for (;;) {
    try {
      localStorage.setItem("tandem.chats", JSON.stringify(chats));
      localStorage.setItem("tandem.current", JSON.stringify(current?.id ?? null));
      localStorage.setItem("tandem.settings", JSON.stringify(settings));
      return;
    } catch {
      if (chats.length < 2) return;
      chats.pop();
    }
  }
}
let chats = load("tandem.chats", []);
let settings = load("tandem.settings", {});
let current = chats.find((chat) => chat.id === load("tandem.current", null)) ?? chats[0];
let running = null;  // the AbortController of the answer that streams

function headers() {
  const result = { "Content-Type": "application/json" };
  if (settings.key) result.Authorization = `Bearer ${settings.key}`;
  return result;
}

// ---- Markdown, built as nodes: no text of a model is ever read as HTML ----
function inline(text) {
  const out = [];
  const pattern = /(`+)([\s\S]*?[^`])\1(?!`)|\*\*([^*\n]+)\*\*|\*([^*\n]+)\*|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)/g;
  let last = 0;
  for (const match of text.matchAll(pattern)) {
    out.push(text.slice(last, match.index));
    if (match[2] !== undefined) out.push(make("code", {}, match[2].trim()));
    else if (match[3] !== undefined) out.push(make("strong", {}, ...inline(match[3])));
    else if (match[4] !== undefined) out.push(make("em", {}, ...inline(match[4])));
    else out.push(make("a", { href: match[6], rel: "noopener noreferrer", target: "_blank" }, match[5]));
    last = match.index + match[0].length;
  }
  out.push(text.slice(last));
  return out;
}
function codeBlock(lines) {
  const code = lines.join("\n");
  const button = make("button", { type: "button", "aria-label": "Copy code", onclick: () => copy(code, button) }, "Copy");
  return make("pre", {}, button, make("code", {}, code));
}
function tableOf(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const [head, , ...rows] = lines;
  return make("table", {},
    make("thead", {}, make("tr", {}, ...cells(head).map((cell) => make("th", { scope: "col" }, ...inline(cell))))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row).map((cell) => make("td", {}, ...inline(cell)))))));
}
function markdown(text) {
  const out = document.createDocumentFragment();
  const lines = text.split("\n");
  let paragraph = [];
  const flush = () => {
    if (paragraph.length === 0) return;
    const node = make("p");
    paragraph.forEach((line, i) => node.append(...(i ? [make("br")] : []), ...inline(line)));
    out.append(node);
    paragraph = [];
  };
  const take = (i, test) => { let end = i; while (end < lines.length && test(lines[end])) ++end; return end; };
  for (let i = 0; i < lines.length; ++i) {
    const line = lines[i];
    const fence = line.match(/^\s*(```+|~~~+)/);
    const heading = line.match(/^(#{1,6})\s+(.*)/);
    const item = line.match(/^\s*([-*+]|\d+[.)])\s+(.*)/);
    if (fence) {
      flush();
      const end = take(i + 1, (other) => !other.trim().startsWith(fence[1]));
      out.append(codeBlock(lines.slice(i + 1, end)));
      i = end;
    } else if (heading) {
      flush();
      out.append(make("h" + Math.min(6, heading[1].length + 2), {}, ...inline(heading[2])));
    } else if (item) {
      flush();
      const ordered = /\d/.test(item[1]);
      const list = make(ordered ? "ol" : "ul", ordered ? { start: parseInt(item[1], 10) } : {});
      const end = take(i, (other) => /^\s*([-*+]|\d+[.)])\s+/.test(other));
      for (const entry of lines.slice(i, end)) {
        list.append(make("li", {}, ...inline(entry.replace(/^\s*([-*+]|\d+[.)])\s+/, ""))));
      }
      out.append(list);
      i = end - 1;
    } else if (line.startsWith(">")) {
      flush();
      const end = take(i, (other) => other.startsWith(">"));
      out.append(make("blockquote", {}, ...inline(lines.slice(i, end).map((l) => l.replace(/^>\s?/, "")).join("\n"))));
      i = end - 1;
    } else if (line.includes("|") && /^[\s|:-]+$/.test(lines[i + 1] ?? "") && (lines[i + 1] ?? "").includes("-")) {
      flush();
      const end = take(i, (other) => other.includes("|"));
      out.append(tableOf(lines.slice(i, end)));
      i = end - 1;
    } else if (line.trim() === "") {
      flush();
    } else {
      paragraph.push(line);
    }
  }
  flush();
  return out;
}
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // pages that are not on https or localhost have no clipboard
    const area = make("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}

// ---- the chat ----
function titleOf(chat) {
  return (chat.messages.find((message) => message.role === "user")?.content ?? "New chat").slice(0, 60);
}
function showList() {
  $("list").replaceChildren(...chats.map((chat) => make("li", {},
    make("button", { class: "open", "aria-current": String(chat === current), title: titleOf(chat),
      onclick: () => open(chat) }, titleOf(chat)),
    make("button", { "aria-label": `Delete ${titleOf(chat)}`, onclick: () => remove(chat) }, "×"))));
}
function messageNode(message) {
  const name = message.role === "user" ? "You" : "Model";
  const body = make("div", { class: "body" });
  if (message.role === "user") body.textContent = message.content;
  else body.append(markdown(message.content));
  if (message.error) body.append(make("p", { class: "error", role: "alert" }, message.error));
  const copyButton = make("button", { type: "button", "aria-label": `Copy message`,
    onclick: () => copy(message.content, copyButton) }, "Copy");
  const figures = message.figures ? make("span", {}, message.figures) : undefined;
  return make("article", { class: `message ${message.role}`, "aria-label": name },
    make("div", { class: "who" }, make("span", {}, name), copyButton, figures), body);
}
function showMessages() {
  const nodes = (current?.messages ?? []).map(messageNode);
  if (nodes.length === 0) nodes.push(make("p", { class: "empty" }, "Ask something. Conversations stay in this browser."));
  $("messages").replaceChildren(...nodes);
  $("messages").scrollTop = $("messages").scrollHeight;
}
function open(chat) {
  running?.abort();
  current = chat;
  save();
  showList();
  showMessages();
  $("input").focus();
}
function remove(chat) {
  chats = chats.filter((other) => other !== chat);
  open(chat === current ? chats[0] : current);
}
function newChat() {
  const chat = { id: crypto.randomUUID?.() ?? String(Date.now() + Math.random()), messages: [] };
  chats.unshift(chat);
  open(chat);
}
function requestBody(chat) {
  const messages = chat.messages.filter((message) => message.content !== "" || message.role === "user")
    .map(({ role, content }) => ({ role, content }));
  if (settings.system) messages.unshift({ role: "system", content: settings.system });
  const body = { messages, stream: true, stream_options: { include_usage: true } };
  for (const name of ["temperature", "top_p", "top_k", "max_tokens"]) {
    if (settings[name] !== undefined && settings[name] !== "") body[name] = Number(settings[name]);
  }
  return body;
}
// Calls `take` with each document of an event stream.
async function readEvents(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      if (event.startsWith("data: ") && event !== "data: [DONE]") take(JSON.parse(event.slice(6)));
    }
  }
}
async function ask(text) {
  if (!current) newChat();
  const chat = current;
  const answer = { role: "assistant", content: "" };
  chat.messages.push({ role: "user", content: text }, answer);
  running = new AbortController();
  $("stop").hidden = false;
  $("send").disabled = true;
  save();
  showList();
  showMessages();
  let waits = false;
  const redraw = () => {
    waits = false;
    if (chat !== current) return;
    const box = $("messages");
    const follows = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
    box.lastElementChild.replaceWith(messageNode(answer));
    if (follows) box.scrollTop = box.scrollHeight;
  };
  const redrawSoon = () => { if (!waits) { waits = true; requestAnimationFrame(redraw); } };
  try {
    const body = requestBody({ messages: chat.messages.slice(0, -1) });
    const response = await fetch("v1/chat/completions",
      { method: "POST", headers: headers(), body: JSON.stringify(body), signal: running.signal });
    if (!response.ok) throw new Error((await response.json()).error?.message ?? response.statusText);
    await readEvents(response, (event) => {
      if (event.error) throw new Error(event.error.message);
      answer.content += event.choices[0]?.delta?.content ?? "";
      if (event.timings) {
        answer.figures = `${event.timings.predicted_n} tokens, ${event.timings.predicted_per_second.toFixed(1)} tokens/s`;
      }
      redrawSoon();
    });
  } catch (error) {
    if (error.name !== "AbortError") answer.error = error.message;
  }
  running = null;
  $("stop").hidden = true;
  $("send").disabled = false;
  redraw();
  save();
}

// ---- the machine ----
const kParts = [["compute_s", "computing", "--c1"], ["wait_s", "waiting for peers", "--c2"], ["reduce_s", "reducing", "--c3"],
  ["stage_wait_s", "waiting for a stage", "--c4"], ["transfer_s", "between stages", "--c4"], ["output_s", "logits", "--c3"], ["idle_s", "idle", "--c5"]];
const kMemory = [["weights_bytes", "weights", "--c1"], ["kv_bytes", "KV cache", "--c2"], ["compute_bytes", "compute", "--c3"]];
let before = null;
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
  const stages = plan.stages.map((stage, i) => make("div", { class: "stage" },
    make("h3", {}, plan.stages.length > 1 ? `Stage ${i + 1}: ` : "", `layers ${stage.first_layer} to ${stage.first_layer + stage.num_layers - 1}`),
    ...stage.devices.map((device) => {
      const rank = state.ranks[index];
      const old = before?.state.ranks[index];
      ++index;
      const moved = rank && old && rank.steps > old.steps;
      return rankNode(device, rank, moved ? old : undefined);
    })));
  $("plan").replaceChildren(make("h2", {}, `Plan: ${plan.name}`), make("div", { class: "stages" }, ...stages),
    make("p", {}, "Memory"), legend(kMemory), make("p", {}, "Time"), legend(kParts));
}
function showMachine(state) {
  const now = performance.now();
  const seconds = before ? (now - before.now) / 1000 : 0;
  const rate = (name) => before ? (state.counters[name] - before.state.counters[name]) / seconds : 0;
  const prompt = (counters) => counters.prompt_tokens - counters.cached_prompt_tokens;
  const running = state.answers.filter((answer) => answer.running).length;
  $("cards").replaceChildren(
    card(rate("generated_tokens").toFixed(1), "tokens/s generated"),
    card((before ? (prompt(state.counters) - prompt(before.state.counters)) / seconds : 0).toFixed(1), "prompt tokens/s"),
    card(`${running} of ${state.max_sequences}`, "answers running"),
    card(String(state.answers.length - running), "waiting"),
    card(`${(100 * state.kv.blocks_owned / state.kv.blocks_total).toFixed(0)} %`, "KV cache in use"),
    card(`${(100 * state.kv.blocks_cached / state.kv.blocks_total).toFixed(0)} %`, "KV cache kept for later"),
    card(state.counters.step_s > 0 ? `${(100 * state.counters.engine_s / (state.counters.step_s + state.counters.engine_s)).toFixed(1)} %` : "-", "between steps"),
    card(String(state.counters.requests_finished), "requests done"));
  showPlan(state);
  $("requests").replaceChildren(...state.answers.map((answer) => make("tr", {},
    ...[answer.request, answer.running ? "running" : "waiting", answer.prompt_tokens, answer.computed_tokens,
      answer.generated_tokens, answer.max_tokens].map((value) => make("td", {}, String(value))))));
  if (state.answers.length === 0) $("requests").append(make("tr", {}, make("td", { colspan: 6 }, "none")));
  $("machine-error").textContent = state.failure ?? "";
  before = { now, state };
}
async function watchMachine() {
  if ($("machine").hidden || document.hidden) return;
  try {
    const response = await fetch("machine", { headers: headers() });
    if (!response.ok) throw new Error((await response.json()).error?.message ?? response.statusText);
    showMachine(await response.json());
  } catch (error) {
    $("machine-error").textContent = error.message;
  }
}
setInterval(watchMachine, 1000);

// ---- wiring ----
const kTabs = ["chat", "machine"];
function show(name) {
  for (const tab of kTabs) {
    $(tab).hidden = tab !== name;
    $(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
    $(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  location.hash = name === "chat" ? "" : name;
  if (name === "machine") watchMachine();
}
for (const tab of kTabs) {
  $(`tab-${tab}`).addEventListener("click", () => show(tab));
  $(`tab-${tab}`).addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = kTabs[1 - kTabs.indexOf(tab)];
    show(other);
    $(`tab-${other}`).focus();
  });
}
$("new").addEventListener("click", newChat);
$("stop").addEventListener("click", () => running?.abort());
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("input").value.trim();
  if (text === "" || running) return;
  $("input").value = "";
  ask(text);
});
$("input").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("settings").open) running?.abort();
});
$("settings-open").addEventListener("click", () => {
  for (const field of $("settings").querySelectorAll("[name]")) field.value = settings[field.name] ?? "";
  $("settings").showModal();
});
$("settings").addEventListener("close", () => {
  if ($("settings").returnValue !== "save") return;
  for (const field of $("settings").querySelectorAll("[name]")) settings[field.name] = field.value;
  save();
  showModel();
});
async function showModel() {
  try {
    const response = await fetch("v1/models", { headers: headers() });
    $("model").textContent = (await response.json()).data?.[0]?.id ?? "";
  } catch {
    $("model").textContent = "";
  }
}
showList();
showMessages();
showModel();
show(location.hash === "#machine" ? "machine" : "chat");
