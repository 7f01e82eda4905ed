// What the checks of pages in a real browser have in common. What is wrong is printed, a
// line each; finish ends the program with 1 if there is anything.
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, firefox } from "playwright-core";

export const task = JSON.parse(process.argv[2]);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const patience = 150000; // milliseconds; what happens ends the wait
const ownStyle = "sha256-YjaKGiklmzC6wjXA513HAMmzus8VE61XCOT+SmwNZWA="; // of what playwright adds to a page for a picture
let wrong = 0;

export const complain = (...words) => { wrong++; console.log(...words); };
export const finish = () => process.exit(wrong ? 1 : 0);

// launch starts the task's browser, for which a domain, if one is given, is this machine.
export async function launch(dark, domain) {
  if (task.browser === "chromium") {
    return chromium.launch({ executablePath: task.program, timeout: patience,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        ...(domain ? ["--host-resolver-rules=MAP " + domain + " 127.0.0.1"] : [])] });
  }
  return firefox.launch({ channel: "moz-firefox", executablePath: task.program, timeout: patience,
    firefoxUserPrefs: { ...(domain ? { "network.dns.localDomains": domain, "network.dns.disableIPv6": true } : {}), "layout.css.prefers-color-scheme.content-override": dark ? 0 : 1 } });
}

// A look is one browser window: its pages may ask nobody but the origins that are given,
// and break no rule. Further settings are those of playwright's newContext; those of
// chromium alone are apart.
export async function look(browser, origins, { dark, width, script = true, settings = {}, chromiumSettings = {} }, use) {
  const options = { viewport: { width, height: 900 }, ...settings };
  if (task.browser === "chromium") Object.assign(options, { colorScheme: dark ? "dark" : "light", javaScriptEnabled: script }, chromiumSettings);
  const context = await browser.newContext(options);
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.on("request", (r) => {
    const u = new URL(r.url());
    if (!origins.includes(u.origin) && u.protocol !== "data:" && u.protocol !== "about:") complain("it asks", r.url());
  });
  const own = (text) => task.pictures && text.includes(ownStyle);
  page.on("pageerror", (e) => { if (!e.message.includes("/favicon.ico") && !own(e.message)) complain("script failed:", e.message); });
  page.on("console", (m) => { if (m.type() === "error" && /Content.Security.Policy|Refused to/i.test(m.text()) && !own(m.text())) complain("against the policy:", m.text()); });
  try {
    await use(page);
  } catch (e) {
    const focus = await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200)).catch(() => "nobody knows");
    throw new Error(`${e.message}\nat ${page.url()}, where the focus is on ${focus}`);
  } finally {
    await context.close();
  }
}

// focusOn moves the focus to an element, once the page has settled. What a script has put
// there a moment ago is a plain link until htmx has processed it, and may take the focus.
export async function focusOn(page, selector) {
  await page.waitForFunction(() => document.readyState === "complete" && !document.querySelector(".htmx-request, .htmx-swapping, .htmx-settling, .htmx-added"));
  await page.focus(selector);
}

// inspect looks at what the page shows now: it is accessible, and no wider than the screen.
export async function inspect(page, what, picture = {}) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const v of found.violations) complain(`axe, ${what}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + (n.failureSummary || "").split("\n").slice(1, 2).join("")).join(" | ")}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) complain(`${what} is ${over} pixels wider than the screen`);
  if (task.pictures) {
    mkdirSync(task.pictures, { recursive: true });
    await page.screenshot({ path: `${task.pictures}/${task.browser}-${what.replaceAll(/\W+/g, "-")}.png`, caret: "initial", ...picture });
  }
}
