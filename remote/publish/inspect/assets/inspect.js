// What is live in the inspector. It works without: this only looks again when there is
// something new, copies, and moves the focus.
"use strict";
(() => {
  const base = document.body.dataset.base;
  const lost = document.getElementById("lost");
  const toast = document.getElementById("toast");
  const detail = () => document.getElementById("detail");
  const closed = new Set(); // ids of what was folded
  let byItself = false; // the next swap of the detail is nobody's wish
  let refreshing = false;

  // The list, and a request that is under way, are looked at again when there is news.
  function look() {
    const list = document.getElementById("list");
    if (!list || document.hidden || !window.htmx || refreshing) return;
    refreshing = true;
    htmx.trigger(list, "news");
    const article = detail().querySelector("article[data-state=running]");
    const busy = detail().querySelector(".secret") || detail().querySelector("select:focus") || String(getSelection());
    if (!article || busy) return;
    byItself = true;
    htmx.ajax("GET", base + "x/" + article.dataset.id, { target: "#detail", swap: "innerHTML" });
  }
  document.addEventListener("htmx:afterRequest", (e) => {
    if (e.detail.target?.id === "list") refreshing = false;
    if (e.detail.successful) lost.hidden = true;
  });
  document.addEventListener("htmx:sendError", () => { lost.hidden = false; refreshing = false; });

  document.addEventListener("htmx:beforeSwap", (e) => {
    if (e.detail.target.id !== "detail" || !byItself) return;
    if (detail().querySelector("article")?.dataset.id !== e.detail.pathInfo.requestPath.split("/").pop()) e.detail.shouldSwap = false; // another one was chosen meanwhile
    focused = detail().contains(document.activeElement) ? document.activeElement.id : "";
    scrolled = [detail().scrollTop, scrollY];
  });
  let focused = "";
  let scrolled = [0, 0];
  document.addEventListener("htmx:afterSwap", (e) => {
    if (e.detail.target.id === "list") mark();
    if (e.detail.target.id !== "detail") return;
    for (const d of detail().querySelectorAll("details[id]")) if (closed.has(d.id)) d.open = false;
    if (byItself) {
      byItself = false;
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
      detail().scrollTop = scrolled[0];
      scrollTo(scrollX, scrolled[1]);
      return;
    }
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
    source.addEventListener("news", () => { lost.hidden = true; look(); });
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
