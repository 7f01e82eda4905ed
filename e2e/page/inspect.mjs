// Uses the inspector as a person does, in a real browser: with the keyboard, on a wide
// screen and on a phone, light and dark. Prints what is wrong, a line each, and ends with
// 1 if there is anything; node inspect.mjs '{"browser":…}' as TestInspectorInBrowsers has it.
import { complain, finish, focusOn, inspect, launch, look as lookAny, task } from "./browser.mjs";

const origins = [new URL(task.page).origin];
const look = (browser, options, use) => lookAny(browser, origins, { ...options, chromiumSettings: { permissions: ["clipboard-read", "clipboard-write"] } }, use);

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
  await focusOn(page, "#q");
  await page.keyboard.type("payment.failed -is:replay");
  await page.waitForFunction(() => document.querySelectorAll(".row").length === 1);
  await focusOn(page, ".row");
  await page.keyboard.press("Enter");
  await shown(page, "/hooks/payment");
  // A browser that is busy shows what came a moment before it moves the focus.
  await page.waitForFunction(() => document.activeElement.tagName === "H2").catch(() => complain("the focus is not at the request"));
  if ((await page.textContent("#detail")).includes("13d1f0a4c9")) complain("a secret is shown");
  await focusOn(page, ".veil");
  await page.keyboard.press("Enter");
  await page.waitForSelector('.secret:has-text("13d1f0a4c9")');
  await focusOn(page, "#edit");
  await page.keyboard.press("Enter");
  await page.waitForSelector("form.edit");
  if (task.all || task.pictures) await inspect(page, name + " edit");
  await focusOn(page, "#target");
  await page.keyboard.press("End");
  await page.keyboard.type("?again=yes");
  await page.keyboard.press("Enter");
  await shown(page, "?again=yes");
  await page.waitForSelector("#detail article[data-state=done]");
  const detail = await page.textContent("#detail");
  if (!detail.includes("evt_2") || !detail.includes("a replay of")) complain("the replay shows", detail);
  await inspect(page, name + " replay");
  await focusOn(page, "form.compare button");
  await page.keyboard.press("Enter");
  await shown(page, "compared");
  await inspect(page, name + " compare");
  await page.goto(task.page);
  if (task.browser === "chromium") {
    await open(page, "/api/orders");
    await focusOn(page, "#curl");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#toast:has-text('Copied')");
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    if (!copied.startsWith("curl ") || !copied.includes("/api/orders?page=2") || copied.includes("eyJ")) complain("copied:", copied);
  }
  await page.goto(task.page);
  await focusOn(page, ".row");
  await page.keyboard.press("ArrowDown");
  if (!(await page.evaluate(() => document.activeElement === document.querySelectorAll(".row")[1]))) complain("the arrow leads nowhere");
  await focusOn(page, "#pause");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#list:has-text('paused')");
  await focusOn(page, "#pause");
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

// A request that is under way grows by itself; what was folded, and where the focus is, stays.
async function growing(page) {
  await open(page, "/ticks");
  await page.click("#request-head summary");
  await focusOn(page, "#curl");
  const newest = async () => Number(/tick (\d+)/.exec(await page.textContent(".messages li"))[1]);
  const first = await newest();
  await page.waitForFunction((n) => Number(/tick (\d+)/.exec(document.querySelector(".messages li").textContent)[1]) > n + 2, first);
  if (await page.evaluate(() => document.getElementById("request-head").open)) complain("what was folded has unfolded");
  if ((await page.evaluate(() => document.activeElement.id)) !== "curl") complain("the focus has gone");
  await page.goBack();
  await page.waitForSelector(".row");
  await page.waitForSelector("#detail:has-text('No request is chosen')", { state: "attached" });
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
    if (name === "light wide" || task.browser === "firefox") await look(browser, { dark, width }, async (page) => { await live(page); await growing(page); });
    if (name === "light wide" && task.browser === "chromium") await look(browser, { dark, width, script: false }, withoutScript);
  } catch (e) {
    complain(`${name}:`, e.message);
  } finally {
    await browser.close();
  }
}
finish();
