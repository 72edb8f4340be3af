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
// What a model thought before its answer: open while it still thinks, or as the reader last left it.
function thoughtNode(message) {
  const node = make("details", { class: "thought", open: message.showsThought ?? message.content === "" },
    make("summary", { onclick: () => { message.showsThought = !node.open; } }, "Thought"),
    make("div", {}, markdown(message.thought)));
  return node;
}
function messageNode(message) {
  const name = message.role === "user" ? "You" : "Model";
  const body = make("div", { class: "body" });
  if (message.role === "user") body.textContent = message.content;
  else body.append(...(message.thought ? [thoughtNode(message)] : []), markdown(message.content));
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
  const body = { model: chosenModel(), messages, stream: true, stream_options: { include_usage: true } };
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
  $("messages").setAttribute("aria-busy", "true");  // read aloud once it is whole
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
      const delta = event.choices[0]?.delta;
      answer.content += delta?.content ?? "";
      if (delta?.reasoning_content) answer.thought = (answer.thought ?? "") + delta.reasoning_content;
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
  $("messages").setAttribute("aria-busy", "false");
  save();
}
