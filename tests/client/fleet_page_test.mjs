// The fleet's page in a real browser: Debian's Chromium, headless, over examples/fleet.toml.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startProgram } from "./server.mjs";

const shots = process.env.TANDEM_SCREENSHOTS;
if (shots) mkdirSync(shots, { recursive: true });
const folder = mkdtempSync(join(tmpdir(), "tandem-fleet-page-"));

let server;
let browser;
let page;
const problems = [];
before(async () => {
  const example = readFileSync(process.env.TANDEM_FLEET_EXAMPLE, "utf8");
  const file = join(folder, "fleet.toml");
  // The last model cannot be loaded: its worker ends at once.
  writeFileSync(join(folder, "lamentations.gguf"), "");
  writeFileSync(file, example.replace('"127.0.0.1:8080"', '"127.0.0.1:0"') + `
[[worker]]
name = "broken"
command = ["/bin/false", "{port}"]
[[model]]
name = "lamentations"
file = "lamentations.gguf"
worker = "broken"
memory = "1MiB"
devices = ["cpu:0"]
load = "on-demand"
[[key]]
name = "anybody"
anonymous = true
[[key]]
name = "admin"
key = "admin-of-the-test"
admin = true
`);
  server = await startProgram("fleet", file);
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"] });
  page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  page.on("pageerror", (error) => problems.push(String(error)));
  // A refusal is answered by a status, which the browser notes: those that are meant to be are left out.
  page.on("console", (message) => message.type() === "error" && !/status of (401|503)/.test(message.text()) &&
    problems.push(message.text()));
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true });
});
async function shoot(name) {
  if (shots) await page.screenshot({ path: `${shots}/${name}.png` });
}
const row = (model) => page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: model }) });
const says = (model, text) => row(model).getByText(text, { exact: true }).first().waitFor({ timeout: 60000 });
const answers = () => page.locator(".message.assistant .body");

test("machine, models and placement are shown", async () => {
  await page.goto(server.url);
  await page.getByRole("tab", { name: "Fleet" }).click();
  await says("genesis", "ready, pinned");
  await says("psalms", "ready");
  await says("proverbs", "unloaded");
  await row("genesis").getByText(/genesis\/0: ready, cpu:0 \d/).waitFor();
  assert.ok((await row("genesis").getByRole("rowheader").textContent()).includes("default"));
  await page.getByRole("img", { name: /Memory of host: genesis \d.* MiB, psalms \d/ }).waitFor();
  await shoot("fleet");
});

test("loading takes a key that may", async () => {
  await page.getByRole("button", { name: "load proverbs", exact: true }).click();
  await page.locator("#fleet-error").getByText(/proverbs: .*admin/).waitFor();
  await says("proverbs", "unloaded");
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("API key").fill("admin-of-the-test");
  await page.getByRole("button", { name: "Save" }).click();
});

test("a click loads and unloads", async () => {
  await page.getByRole("button", { name: "load proverbs", exact: true }).click();
  await says("proverbs", "ready");
  assert.equal(await page.locator("#fleet-error").textContent(), "");
  await page.getByRole("button", { name: "unload proverbs" }).click();
  await says("proverbs", "unloaded");
});

test("a model that fails says why", async () => {
  await page.getByRole("button", { name: "load lamentations", exact: true }).click();
  await row("lamentations").getByText(/^failed/).waitFor({ timeout: 60000 });
  await row("lamentations").getByText(/exit code 1/).waitFor();
  await shoot("fleet-failed");
});

test("work and queues are counted", async () => {
  const bodies = Array.from({ length: 24 }, () => JSON.stringify(
    { model: "psalms", prompt: "And", max_tokens: 1000, ignore_eos: true }));
  const stop = new AbortController();
  const requests = bodies.map((body) => fetch(`${server.url}/v1/completions`,
    { method: "POST", body, signal: stop.signal }).catch(() => undefined));
  // Four at a time, as the file says.
  await page.waitForFunction(() => {
    const cells = [...document.querySelectorAll("#fleet-models tr")].find((node) =>
      node.querySelector("th").textContent.startsWith("psalms"))?.querySelectorAll("td");
    return cells?.[2].textContent === "4" && Number(cells[3].textContent) > 2;
  }, undefined, { timeout: 30000 });
  await shoot("fleet-busy");
  stop.abort();
  await Promise.all(requests);
});

test("the chat speaks to the model that is chosen", async () => {
  await page.getByRole("tab", { name: "Chat" }).click();
  const choice = page.getByRole("combobox", { name: "Model" });
  assert.deepEqual(await choice.locator("option").allTextContents(),
    ["genesis", "lamentations", "proverbs", "psalms"]);
  await choice.selectOption("proverbs");
  const sent = page.waitForRequest((request) => request.url().endsWith("/v1/chat/completions"));
  await page.getByLabel("Message", { exact: true }).fill("My son");
  await page.keyboard.press("Enter");
  assert.equal((await sent).postDataJSON().model, "proverbs");
  await page.waitForFunction(() => document.querySelector(".message.assistant .body")?.textContent.length > 5,
    undefined, { timeout: 60000 });
  await page.getByRole("button", { name: "Stop" }).waitFor({ state: "hidden", timeout: 60000 });
  assert.ok((await answers().last().textContent()).length > 5);
  await shoot("fleet-chat");
  // The machine's page follows the choice.
  await page.getByRole("tab", { name: "Machine" }).click();
  await page.getByText("layers 0 to").waitFor();
  await shoot("fleet-machine");
  await page.reload();
  assert.equal(await choice.inputValue(), "proverbs");
});

test("narrow and dark", async () => {
  await page.getByRole("tab", { name: "Fleet" }).click();
  await says("genesis", "ready, pinned");
  await page.emulateMedia({ colorScheme: "dark" });
  await shoot("fleet-dark");
  await page.setViewportSize({ width: 380, height: 700 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
  await shoot("fleet-narrow-dark");
});

test("nothing was complained about", () => assert.deepEqual(problems, []));
