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
