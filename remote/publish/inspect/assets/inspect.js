// What is live in the inspector. It works without: this only looks again when there is
// something new, copies, and moves the focus.
"use strict";
(() => {
  const base = document.body.dataset.base;
  const lost = document.getElementById("lost");
  const toast = document.getElementById("toast");
  const detail = () => document.getElementById("detail");
  const closed = new Set(); // ids of what was folded
  let looking = false;
  let due = false; // there was news meanwhile
  let held = false; // a button of the mouse, or a finger, is down

  // The list, and a request that is under way, are looked at again when there is news. Only
  // what has changed is put in the place of what was there, and not under somebody's hands.
  async function look() {
    due = true;
    if (looking || document.hidden || held) return;
    looking = true;
    try {
      while (due && !held) {
        due = false;
        await refresh();
        await grow();
        lost.hidden = true;
      }
    } catch {
      lost.hidden = false;
    }
    looking = false;
  }
  async function ask(from, target) {
    const r = await fetch(from, { headers: { "HX-Request": "true", "HX-Target": target } });
    if (!r.ok) return null;
    return new DOMParser().parseFromString(await r.text(), "text/html");
  }
  async function refresh() {
    const list = document.getElementById("list");
    const now = (await ask(list.dataset.from, "list"))?.getElementById("list");
    if (!now || list !== document.getElementById("list") || held) return;
    const rows = list.querySelector(".rows");
    const next = now.querySelector(".rows");
    if (!rows || !next) {
      if (list.innerHTML !== now.innerHTML) put(list, now);
      return mark();
    }
    for (const id of ["list-tools", "list-count"]) change(document.getElementById(id), now.querySelector("#" + id));
    let at = rows.firstElementChild;
    for (const item of [...next.children]) {
      const row = item.querySelector(".row");
      let was = document.getElementById(row.id)?.parentElement;
      if (!was) {
        was = document.importNode(item, true);
        rows.insertBefore(was, at);
        htmx.process(was);
        continue;
      }
      change(was.querySelector(".row"), row);
      while (at && at !== was) {
        const gone = at;
        at = at.nextElementSibling;
        gone.remove();
      }
      at = was.nextElementSibling;
    }
    while (at) {
      const gone = at;
      at = at.nextElementSibling;
      gone.remove();
    }
    mark();
  }
  async function grow() {
    const article = detail().querySelector("article[data-state=running]");
    if (!article) return;
    const now = (await ask(base + "x/" + article.dataset.id, "detail"))?.querySelector("article");
    if (!now || !article.isConnected || held) return;
    for (const part of now.querySelectorAll("[data-grows]")) {
      const was = document.getElementById(part.id);
      const selection = getSelection();
      if (!was || was.contains(document.activeElement) || was.querySelector(".secret") || (String(selection) && was.contains(selection.anchorNode))) continue;
      change(was, part);
      fold(was);
    }
    article.dataset.state = now.dataset.state;
  }
  function change(was, now) {
    if (was && now && was.innerHTML !== now.innerHTML) put(was, now);
  }
  function put(was, now) {
    const focused = was.contains(document.activeElement) ? document.activeElement.id : "";
    was.replaceChildren(...[...now.childNodes].map((n) => document.importNode(n, true)));
    htmx.process(was);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
  function fold(part) {
    for (const d of part.querySelectorAll("details[id]")) if (closed.has(d.id)) d.open = false;
  }
  document.addEventListener("pointerdown", () => { held = true; }, true);
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => setTimeout(() => { held = false; if (due) look(); }), true);

  document.addEventListener("htmx:sendError", () => { lost.hidden = false; });
  document.addEventListener("htmx:afterSwap", (e) => {
    if (e.detail.target.id === "list") mark();
    if (e.detail.target.id !== "detail") return;
    fold(detail());
    document.querySelector("main").classList.add("open");
    detail().scrollTop = 0;
    mark();
    const first = detail().querySelector("[role=alert]") || detail().querySelector("form.edit input") || detail().querySelector("h2[tabindex]");
    first?.focus();
  });
  document.addEventListener("toggle", (e) => {
    if (!e.target.id) return;
    if (e.target.open) closed.delete(e.target.id);
    else closed.add(e.target.id);
  }, true);

  // The row of the request that is shown.
  function mark() {
    const id = detail().querySelector("article[data-id]")?.dataset.id;
    for (const row of document.querySelectorAll(".row")) {
      if (row.dataset.id === id) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  // Up and down in the list.
  document.addEventListener("keydown", (e) => {
    const row = e.target.closest?.(".row");
    if (!row || e.ctrlKey || e.metaKey || e.altKey || (e.key !== "ArrowDown" && e.key !== "ArrowUp")) return;
    const next = (e.key === "ArrowDown" ? row.parentElement.nextElementSibling : row.parentElement.previousElementSibling)?.querySelector(".row");
    if (!next) return;
    e.preventDefault();
    next.focus();
  });

  // What is copied is asked for at that time: the page does not have it.
  document.addEventListener("click", async (e) => {
    const button = e.target.closest("[data-copy]");
    if (!button) return;
    try {
      const r = await fetch(button.dataset.copy);
      if (!r.ok) throw new Error(r.statusText);
      const text = await r.text();
      await (navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject(new Error("no clipboard")));
      say("Copied");
    } catch {
      location.assign(button.dataset.copy); // to be copied by hand
    }
  });
  let spoken = 0;
  function say(text) {
    toast.textContent = text;
    clearTimeout(spoken);
    spoken = setTimeout(() => { toast.textContent = ""; }, 3000);
  }

  // What the remote tells, while somebody looks.
  let source = null;
  let again = 0;
  function listen() {
    if (source || document.hidden) return;
    source = new EventSource(base + "events");
    source.addEventListener("news", look);
    source.onerror = () => {
      lost.hidden = false;
      if (source.readyState !== EventSource.CLOSED) return;
      source = null;
      clearTimeout(again);
      again = setTimeout(listen, 10000);
    };
  }
  function leave() {
    source?.close();
    source = null;
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", listen);
  listen();
})();
