// Uses the inspector as a person does, in a real browser: with the keyboard, on a wide
// screen and on a phone, light and dark. Prints what is wrong, a line each, and ends with
// 1 if there is anything; node inspect.mjs '{"browser":…}' as TestInspectorInBrowsers has it.
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, firefox } from "playwright-core";

const task = JSON.parse(process.argv[2]);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const patience = 60000; // milliseconds; what happens ends the wait
let wrong = 0;
const complain = (...words) => { wrong++; console.log(...words); };
const origin = new URL(task.page).origin;
const ownStyle = "sha256-YjaKGiklmzC6wjXA513HAMmzus8VE61XCOT+SmwNZWA="; // of what playwright adds to a page for a picture

async function launch(dark) {
  if (task.browser === "chromium") {
    return chromium.launch({ executablePath: task.program, timeout: patience,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
  }
  return firefox.launch({ channel: "moz-firefox", executablePath: task.program, timeout: patience,
    firefoxUserPrefs: { "layout.css.prefers-color-scheme.content-override": dark ? 0 : 1 } });
}

// A look is one browser window: its pages may ask nobody else, and break no rule.
async function look(browser, { dark, width, script = true }, use) {
  const options = { viewport: { width, height: 900 } };
  if (task.browser === "chromium") Object.assign(options, { colorScheme: dark ? "dark" : "light", javaScriptEnabled: script, permissions: ["clipboard-read", "clipboard-write"] });
  const context = await browser.newContext(options);
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.on("request", (r) => {
    const u = new URL(r.url());
    if (u.origin !== origin && u.protocol !== "data:" && u.protocol !== "about:") complain("it asks", r.url());
  });
  page.on("pageerror", (e) => { if (!e.message.includes("/favicon.ico") && !(task.pictures && e.message.includes(ownStyle))) complain("script failed:", e.message); });
  page.on("console", (m) => { if (m.type() === "error" && /Content.Security.Policy|Refused to/i.test(m.text()) && !(task.pictures && m.text().includes(ownStyle))) complain("against the policy:", m.text()); });
  try {
    await use(page);
  } finally {
    await context.close();
  }
}

async function inspect(page, what) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const v of found.violations) complain(`axe, ${what}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + (n.failureSummary || "").split("\n").slice(1, 2).join("")).join(" | ")}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) complain(`${what} is ${over} pixels wider than the screen`);
  if (task.pictures) {
    mkdirSync(task.pictures, { recursive: true });
    await page.screenshot({ path: `${task.pictures}/${task.browser}-${what.replaceAll(/\W+/g, "-")}.png`, caret: "initial" });
  }
}

const row = (page, text) => page.locator(".row", { hasText: text }).first();
const shown = (page, text) => page.waitForSelector(`#detail h2:has-text("${text}")`);
async function open(page, text) {
  await page.goto(task.page);
  await row(page, text).click();
  await shown(page, text);
}

// Every kind of request is readable.
async function everyKind(page, name) {
  await page.goto(task.page);
  await page.waitForSelector(".row");
  await inspect(page, name + " list");
  for (const [path, text, what] of [
    ["/hooks/payment", '"payment.failed"', "JSON"], ["/sign-in", "Wind & water", "form"], ["/chat", "hello again", "WebSocket"], ["/events", '"price": "9.50"', "events"],
    ["/greet.Greeter", "hello ada", "gRPC"], ["/logo.png", "89 50 4e 47", "bytes"],
  ].filter(([path]) => task.all || task.pictures || (path === "/chat" && task.browser === "firefox"))) {
    await open(page, path);
    const detail = await page.textContent("#detail");
    if (!detail.includes(text)) complain(`${name}: ${path} does not show ${text}`);
    await inspect(page, `${name} ${what}`);
  }
}

// By the keyboard alone: look for a request, open it, show a masked value, replay it with an
// edit, compare the two, pause and clear.
async function byKeyboard(page, name) {
  await page.goto(task.page);
  await page.focus("#q");
  await page.keyboard.type("payment.failed -is:replay");
  await page.waitForFunction(() => document.querySelectorAll(".row").length === 1);
  await page.focus(".row");
  await page.keyboard.press("Enter");
  await shown(page, "/hooks/payment");
  if (await page.evaluate(() => document.activeElement.tagName) !== "H2") complain("the focus is not at the request");
  if ((await page.textContent("#detail")).includes("13d1f0a4c9")) complain("a secret is shown");
  await page.focus(".veil");
  await page.keyboard.press("Enter");
  await page.waitForSelector('.secret:has-text("13d1f0a4c9")');
  await page.focus("#edit");
  await page.keyboard.press("Enter");
  await page.waitForSelector("form.edit");
  if (task.all || task.pictures) await inspect(page, name + " edit");
  await page.focus("#target");
  await page.keyboard.press("End");
  await page.keyboard.type("?again=yes");
  await page.keyboard.press("Enter");
  await shown(page, "?again=yes");
  await page.waitForSelector("#detail article[data-state=done]");
  const detail = await page.textContent("#detail");
  if (!detail.includes("evt_2") || !detail.includes("a replay of")) complain("the replay shows", detail);
  await inspect(page, name + " replay");
  await page.focus("form.compare button");
  await page.keyboard.press("Enter");
  await shown(page, "compared");
  await inspect(page, name + " compare");
  await page.goto(task.page);
  if (task.browser === "chromium") {
    await open(page, "/api/orders");
    await page.focus("#curl");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#toast:has-text('Copied')");
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    if (!copied.startsWith("curl ") || !copied.includes("/api/orders?page=2") || copied.includes("eyJ")) complain("copied:", copied);
  }
  await page.goto(task.page);
  await page.focus(".row");
  await page.keyboard.press("ArrowDown");
  if (!(await page.evaluate(() => document.activeElement === document.querySelectorAll(".row")[1]))) complain("the arrow leads nowhere");
  await page.focus("#pause");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#list:has-text('paused')");
  await page.focus("#pause");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#pause:has-text('Pause')");
}

// What a visitor does appears by itself.
async function live(page) {
  await page.goto(task.page + "?q=is:replay+method:get");
  await page.waitForSelector("#list .empty");
  await page.evaluate(async (base) => {
    const found = await (await fetch(base + "api/exchanges?q=path:/api/orders")).json();
    const r = await fetch(base + "api/exchanges/" + found.exchanges[0].id + "/replay", { method: "POST" });
    if (!r.ok) throw new Error(await r.text());
  }, task.page);
  await page.waitForSelector(".row:has-text('/api/orders')");
}

// All of it but what is live works without script.
async function withoutScript(page) {
  await open(page, "/api/orders");
  await page.click("#again");
  await page.waitForSelector("#detail:has-text('a replay of')");
  await page.goto(task.page + "?q=method:post");
  await page.click("button:has-text('Search')");
  await row(page, "/hooks/payment").click();
  await page.click("#edit");
  await page.fill("#target", "/hooks/payment?without=script");
  await page.click("form.edit button");
  await shown(page, "?without=script");
}

const looks = [["light wide", false, 1280], ["dark phone", true, 390], ["dark wide", true, 1280], ["light phone", false, 390]];
for (const [name, dark, width] of task.all ? looks : looks.slice(task.browser === "firefox" ? 1 : 0, task.browser === "firefox" ? 2 : 1)) {
  const browser = await launch(dark);
  try {
    await look(browser, { dark, width }, (page) => everyKind(page, name));
    if (task.all || task.browser === "chromium") await look(browser, { dark, width }, (page) => byKeyboard(page, name));
    if (name === "light wide" || task.browser === "firefox") await look(browser, { dark, width }, live);
    if (name === "light wide" && task.browser === "chromium") await look(browser, { dark, width, script: false }, withoutScript);
  } catch (e) {
    complain(`${name}:`, e.message);
  } finally {
    await browser.close();
  }
}
process.exit(wrong ? 1 : 0);
