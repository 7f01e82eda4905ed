// Uses the operator's page as a person does, in a real browser: with the keyboard, on a
// wide screen and on a phone, light and dark. Prints what is wrong, a line each, and
// ends with 1 if there is anything; node check.mjs '{"browser":…}' as TestOperatorPage has it.
import { complain, finish, focusOn, inspect as inspectAny, launch, look as lookAny, task } from "./browser.mjs";

const origins = [new URL(task.page).origin, new URL(task.site).origin];
const look = (browser, options, use) => lookAny(browser, origins, { ...options, settings: { ignoreHTTPSErrors: true } }, use);
const inspect = (page, what) => inspectAny(page, what, { fullPage: true });

const pages = task.all ? ["/", "/remotes", "/names", "/tokens", "/bans", "/audit"] : ["/", "/remotes", "/names"];
const drawn = (page) => page.waitForFunction(() => document.querySelectorAll(".uplot").length === 4 && document.querySelector("[data-live=arrived]").textContent !== "–");

async function signIn(page) {
  await page.goto(task.page + "/sign-in?to=/remotes");
  await page.waitForFunction(() => document.activeElement.id === "user"); // by itself
  await page.keyboard.type(task.user);
  await page.keyboard.press("Tab");
  await page.keyboard.type(task.password);
  await page.keyboard.press("Enter");
  await page.waitForSelector("text=Sign out");
}

// Every page is readable, without and with a sign-in.
async function everyPage(page, name) {
  if (task.all) {
    await page.goto(task.page + "/");
    await drawn(page);
    await inspect(page, name + " shows");
  }
  await page.goto(task.page + "/sign-in");
  await inspect(page, name + " sign-in");
  await signIn(page);
  for (const path of pages) {
    await page.goto(task.page + path);
    if (path === "/") await drawn(page);
    else await page.waitForSelector("#list");
    await inspect(page, `${name} ${path === "/" ? "overview" : path.slice(1)}`);
  }
  await page.goto(task.page + "/bans");
  await page.click("#new-ban");
  await page.waitForSelector("dialog[open] #of");
  await inspect(page, name + " dialog");
  await page.goto(task.site);
  await inspect(page, name + " site");
}

// One device is found, kicked and banned, and the ban is lifted, by the keyboard alone.
async function byKeyboard(page) {
  await signIn(page);
  await focusOn(page, "#q");
  await page.keyboard.type(task.device);
  await page.waitForFunction((q) => location.search === "?q=" + q && document.querySelectorAll("#list tbody tr").length === 1, task.device);
  const lever = async (link, values, done) => {
    await focusOn(page, link);
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog[open] form");
    for (const [field, text] of Object.entries(values)) {
      await focusOn(page, "dialog #" + field);
      await page.keyboard.type(text);
    }
    await page.keyboard.press("Enter");
    await page.waitForSelector(`dialog [role=status]:has-text("${done}")`);
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog:not([open])", { state: "attached" });
  };
  await lever("#list tbody a:has-text('Kick')", { reason: "please update" }, "were cut");
  await page.waitForFunction(() => document.querySelectorAll("#list tbody tr").length === 1); // it is back
  await page.goto(task.page + "/bans");
  await lever("#new-ban", { of: "bad." + task.domain, reason: "phishing", for: "30d" }, "is banned");
  await page.waitForSelector(`#list :text("phishing")`);
  await lever("#list tbody a:has-text('Lift')", { reason: "mended" }, "is lifted");
  await page.waitForSelector("#list .empty");
  await page.goto(task.page + "/bans");
  await focusOn(page, "#new-ban");
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog[open] form");
  await focusOn(page, "dialog #of");
  await page.keyboard.type(task.domain);
  await page.keyboard.press("Enter");
  await page.waitForSelector(`dialog [role=alert]:has-text("with all of its names")`);
  await page.keyboard.press("Escape");
  await page.goto(task.page + "/audit");
  await page.waitForSelector(`#list tr:has-text("page user ${task.user}"):has-text("remotes.kick"):has-text("please update")`);
  await page.waitForSelector(`#list tr:has-text("names.ban"):has-text("phishing")`);
  await page.click("text=Sign out");
  await page.waitForSelector("text=Sign in");
}

// All of it but the graphs works without script.
async function withoutScript(page) {
  await page.goto(task.page + "/sign-in?to=/remotes");
  await page.fill("#user", task.user);
  await page.fill("#password", task.password);
  await page.click("button:has-text('Sign in')");
  await page.fill("#q", task.device);
  await page.click("button:has-text('Search')");
  await page.click("#list tbody a:has-text('Kick')");
  await page.fill("#reason", "without script");
  await page.click("button:has-text('Kick')");
  await page.waitForSelector("[role=status]:has-text('were cut')");
}

const looks = [["light wide", false, 1280], ["dark phone", true, 390]];
for (const [name, dark, width] of task.all ? looks : looks.slice(task.browser === "firefox" ? 1 : 0, task.browser === "firefox" ? 2 : 1)) {
  const browser = await launch(dark, task.domain);
  try {
    await look(browser, { dark, width }, (page) => everyPage(page, name));
    if (!dark) await look(browser, { dark, width }, byKeyboard);
    if (!dark && task.all && task.browser === "chromium") await look(browser, { dark, width, script: false }, withoutScript);
  } catch (e) {
    complain(`${name}:`, e.message);
  } finally {
    await browser.close();
  }
}
finish();
