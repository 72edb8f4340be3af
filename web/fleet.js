// ---- the fleet: many models behind one port ----
let models = [];      // as GET v1/models lists them
let isFleet = false;  // they say where they are placed, which a single server's do not
function chosenModel() {
  return models.length > 1 ? $("model-choice").value : undefined;
}
function showModels(list) {
  const isSame = list.length === models.length && list.every((model, i) => model.id === models[i].id);
  models = list;
  isFleet = list.some((model) => model.placement !== undefined);
  $("tab-fleet").hidden = !isFleet;
  $("model").textContent = list.length === 1 ? list[0].id : "";
  $("model-choice").hidden = list.length < 2;
  if (isSame) return;
  $("model-choice").replaceChildren(...list.map((model) => make("option", { value: model.id }, model.id)));
  const last = load("tandem.model", null);
  if (list.some((model) => model.id === last)) $("model-choice").value = last;
}
async function changeModel(model, what, button) {
  button.disabled = true;
  $("fleet-error").textContent = "";
  try {
    const response = await fetch(`models/${what}`,
      { method: "POST", headers: headers(), body: JSON.stringify({ model: model.id }) });
    if (!response.ok) throw new Error((await response.json()).error?.message ?? response.statusText);
  } catch (error) {
    const named = error.message.startsWith(`${model.id}: `);
    $("fleet-error").textContent = named ? error.message : `${model.id}: ${error.message}`;
  }
  watchFleet();
}
function actionOf(model) {
  if (model.load === null) return undefined;  // only upstreams serve it
  const what = model.status === "ready" ? "unload" : "load";
  const button = make("button", { disabled: model.status === "loading" || model.status === "draining",
    "aria-label": `${what} ${model.id}`, onclick: () => changeModel(model, what, button) },
    what === "load" ? "Load" : "Unload");
  return button;
}
function backendText(backend) {
  const devices = backend.devices.map((share) => `${share.device} ${bytes(share.bytes)}`).join(", ");
  const breaker = backend.breaker === "open" ? ", left alone for a while" : "";
  return `${backend.name}: ${backend.state}${breaker}${devices && `, ${devices}`}`;
}
// Why it is in its state stands below it: a failure must not have to be looked for.
function stateCell(model) {
  return make("td", { class: "words" }, model.status + (model.pinned ? ", pinned" : ""),
    model.reason ? make("small", { class: "error" }, model.reason) : undefined);
}
function modelRow(model) {
  const aliases = model.aliases.length ? ` (${model.aliases.join(", ")})` : "";
  const placement = make("td", { class: "words" },
    ...model.placement.map((backend) => make("div", { title: backend.reason ?? "" }, backendText(backend))));
  return make("tr", {}, make("th", { scope: "row" }, model.id, make("small", {}, aliases)),
    stateCell(model), placement,
    make("td", {}, String(model.running)), make("td", {}, String(model.waiting)),
    make("td", {}, ...[actionOf(model)].filter(Boolean)));
}
function deviceNode(device, list) {
  const colors = ["--c1", "--c2", "--c3", "--c4"];
  const parts = [];
  for (const [i, model] of list.entries()) {
    if (!["ready", "loading", "draining"].includes(model.status)) continue;
    const held = model.memory.find((share) => share.device === device.id)?.bytes ?? 0;
    if (held > 0) parts.push([model.id, held, colors[i % colors.length], bytes(held)]);
  }
  const whole = Math.max(device.capacity_bytes, device.used_bytes, 1);
  return make("div", { class: "device" }, make("strong", {}, device.id), " ",
    make("small", {}, `${device.name}, ${bytes(device.used_bytes)} of ${bytes(device.capacity_bytes)}`),
    bar(`Memory of ${device.id}`, parts, whole),
    make("div", { class: "legend" }, ...parts.map(([id, , color, words]) =>
      make("span", {}, make("i", { style: `background:var(${color})` }), `${id} ${words}`))));
}
function showFleet(state) {
  showModels(state.models);
  const count = (status) => String(state.models.filter((model) => model.status === status).length);
  const sum = (name) => String(state.models.reduce((total, model) => total + model[name], 0));
  $("fleet-cards").replaceChildren(card(count("ready"), "models ready"), card(count("loading"), "loading"),
    card(count("failed"), "failed"), card(sum("running"), "requests at work"), card(sum("waiting"), "waiting"));
  $("fleet-devices").replaceChildren(...state.devices.map((device) => deviceNode(device, state.models)));
  $("fleet-models").replaceChildren(...state.models.map(modelRow));
}
async function watchFleet() {
  try {
    const response = await fetch("fleet", { headers: headers() });
    if (!response.ok) throw new Error((await response.json()).error?.message ?? response.statusText);
    showFleet(await response.json());
  } catch (error) {
    $("fleet-error").textContent = error.message;
  }
}
setInterval(() => { if (isFleet && !$("fleet").hidden && !document.hidden) watchFleet(); }, 1000);
