// The page in a real browser: Debian's Chromium, headless.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startServer } from "./server.mjs";

const shots = process.env.TANDEM_SCREENSHOTS;
if (shots) mkdirSync(shots, { recursive: true });

let server;
let browser;
let page;
const problems = [];
before(async () => {
  server = await startServer("--temp", "0");
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"] });
  page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
});
after(async () => {
  await browser?.close();
  await server.stop();
});
async function shoot(name) {
  if (shots) await page.screenshot({ path: `${shots}/${name}.png` });
}
const answers = () => page.locator(".message.assistant .body");

test("a message is answered, streaming", async () => {
  await page.goto(server.url);
  await page.getByLabel("Message", { exact: true }).fill("And the LORD spake");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await page.waitForFunction(() => document.querySelector(".message.assistant .body")?.textContent.length > 5);
  const early = await answers().last().textContent();
  await page.getByRole("button", { name: "Stop" }).waitFor({ state: "hidden", timeout: 60000 });
  const late = await answers().last().textContent();
  assert.ok(late.length >= early.length && late.startsWith(early.slice(0, 5)));
  await shoot("chat");
});

test("Stop ends an answer, and the server with it", async () => {
  await page.getByRole("button", { name: "New chat" }).click();
  await page.getByLabel("Message", { exact: true }).fill("Praise");
  await page.getByRole("button", { name: "Send" }).click();
  await page.waitForFunction(() => document.querySelector(".message.assistant .body")?.textContent.length > 2);
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Stop" }).waitFor({ state: "hidden", timeout: 5000 });
  await assert.doesNotReject(async () => {
    for (let i = 0; i < 50; ++i) {
      const slots = await (await fetch(`${server.url}/slots`)).json();
      if (slots.every((slot) => !slot.is_processing)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("a slot is still busy");
  });
});

test("conversations are there again after a reload", async () => {
  await page.reload();
  assert.equal(await page.locator("#list .open").count(), 2);
  await page.locator("#list .open").nth(1).click();
  assert.ok((await page.locator(".message.user").textContent()).includes("And the LORD spake"));
  assert.ok((await answers().last().textContent()).length > 5);
});

test("a model's text is never read as HTML", async () => {
  const found = await page.evaluate(() => {
    const text = "<img src=x onerror=alert(1)> **bold** [x](javascript:alert(1))\n```\n<script>1</script>\n```";
    const node = document.createElement("div");
    node.append(markdown(text));
    return { images: node.querySelectorAll("img, script").length, links: node.querySelectorAll("a").length,
      strong: node.querySelector("strong")?.textContent, code: node.querySelector("pre code").textContent };
  });
  assert.deepEqual(found, { images: 0, links: 0, strong: "bold", code: "<script>1</script>" });
});

test("a thought stands apart, and folds when the answer comes", async () => {
  const chunk = (delta) => `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`;
  await page.route("**/v1/chat/completions", (route) => route.fulfill({ contentType: "text/event-stream",
    body: chunk({ role: "assistant", content: "" }) + chunk({ reasoning_content: "Two and <b>two</b>" }) +
      chunk({ reasoning_content: " is four." }) + chunk({ content: "**4**" }) + "data: [DONE]\n\n" }));
  await page.getByRole("button", { name: "New chat" }).click();
  await page.getByLabel("Message", { exact: true }).fill("2 + 2?");
  await page.keyboard.press("Enter");
  await page.locator(".message.assistant strong", { hasText: "4" }).waitFor();
  await page.unroute("**/v1/chat/completions");
  const thought = page.locator(".message.assistant details");
  assert.equal(await thought.locator("div").textContent(), "Two and <b>two</b> is four.");
  assert.equal(await thought.getAttribute("open"), null);
  await thought.locator("summary").click();
  assert.ok(await thought.locator("div").isVisible());
});

test("the machine page shows the plan and what runs", async () => {
  const request = fetch(`${server.url}/v1/completions`, { method: "POST",
    body: JSON.stringify({ prompt: "And", max_tokens: 220, ignore_eos: true, n: 4 }) });
  await page.getByRole("tab", { name: "Machine" }).click();
  await page.getByText("layers 0 to").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("#requests tr td").length > 5);
  await page.locator("#requests progress").first().waitFor();
  // Two samples, a second apart, make a line.
  await page.waitForFunction(() => document.querySelector("#history polyline")?.getAttribute("points").includes(" "));
  assert.match(await page.getByRole("img", { name: /Tokens per second/ }).getAttribute("aria-label"), /now \d+\.\d generated/);
  await shoot("machine");
  await (await request).json();
  assert.ok(await page.getByRole("img", { name: /Memory of cpu/ }).count() >= 1);
});

test("settings are kept; keyboard alone reaches all", async () => {
  await page.getByRole("tab", { name: "Machine" }).focus();
  await page.keyboard.press("ArrowLeft");
  assert.equal(await page.getByRole("tab", { name: "Chat" }).getAttribute("aria-selected"), "true");
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Most tokens").fill("7");
  await page.getByRole("button", { name: "Save" }).click();
  await page.reload();
  await page.getByRole("button", { name: "Settings" }).click();
  assert.equal(await page.getByLabel("Most tokens").inputValue(), "7");
  await page.keyboard.press("Escape");
});

test("narrow and dark", async () => {
  await page.setViewportSize({ width: 380, height: 700 });
  await page.emulateMedia({ colorScheme: "dark" });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
  await shoot("narrow-dark");
  await page.getByRole("tab", { name: "Machine" }).click();
  await page.getByText("layers 0 to").waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `the machine page is ${wide} px too wide`);
  await shoot("machine-narrow-dark");
  await page.setViewportSize({ width: 1200, height: 800 });
  await shoot("machine-dark");
});

test("nothing was complained about", () => assert.deepEqual(problems, []));
