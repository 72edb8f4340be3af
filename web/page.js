// ---- wiring ----
const kTabs = ["chat", "machine", "fleet"];
function show(name) {
  for (const tab of kTabs) {
    $(tab).hidden = tab !== name;
    $(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
    $(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  location.hash = name === "chat" ? "" : name;
  if (name === "machine") watchMachine();
  if (name === "fleet") watchFleet();
}
for (const tab of kTabs) {
  $(`tab-${tab}`).addEventListener("click", () => show(tab));
  $(`tab-${tab}`).addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const there = kTabs.filter((name) => !$(`tab-${name}`).hidden);
    const step = event.key === "ArrowRight" ? 1 : there.length - 1;
    const other = there[(there.indexOf(tab) + step) % there.length];
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
    showModels((await response.json()).data ?? []);
  } catch {
    $("model").textContent = "";
  }
}
showList();
showMessages();
// The fleet's tab is there once the server has said that it is one.
const wanted = location.hash.slice(1);
showModel().then(() => { if (wanted === "fleet" && isFleet && !$("chat").hidden) show("fleet"); });
$("model-choice").addEventListener("change", () => localStorage.setItem("tandem.model", JSON.stringify($("model-choice").value)));
show(wanted === "machine" ? "machine" : "chat");
