// What is live on the operator's page. It works without: this only draws, refreshes,
// and shows forms in a dialog.
"use strict";
(() => {
  const dialog = document.getElementById("dialog");
  const lost = document.getElementById("lost");
  const refreshEvery = 5000; // milliseconds between two looks at a list
  const kept = 900; // samples, as the relay keeps them

  // The dialog: a form that comes into it opens it, and what closes it leads back.
  document.body.addEventListener("htmx:afterSwap", (e) => {
    if (e.detail.target.id !== "dialog-body") return;
    if (!dialog.open) dialog.showModal();
    const first = dialog.querySelector("[role=alert], [role=status]") ? dialog.querySelector("h1") : dialog.querySelector("form input:not([type=hidden]), form select") || dialog.querySelector("h1");
    if (first) first.focus();
  });
  dialog.addEventListener("click", (e) => {
    const close = e.target.closest("[data-close]");
    if (!close) return;
    e.preventDefault();
    dialog.close();
  });
  dialog.addEventListener("close", refresh);

  // A list is looked at again, but not under somebody's hands.
  function refresh() {
    const list = document.getElementById("list");
    if (list && !dialog.open && !document.hidden && window.htmx && list.hasAttribute("hx-get")) htmx.trigger(list, "refresh");
  }
  document.body.addEventListener("htmx:sendError", () => { lost.hidden = false; });
  document.body.addEventListener("htmx:afterOnLoad", () => { lost.hidden = true; });

  // The graphs.
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const shapes = {
    visitors: [["Visitors", "visitors", "--one"]],
    rates: [["arrived", "arrived", "--one"], ["refused", "refused", "--two"], ["limits met", "limits", "--three"]],
    bytes: [["to visitors", "out", "--one"], ["to remotes", "in", "--two"]],
    links: [["links", "links", "--one"], ["names", "names", "--two"]],
  };
  const figures = [...document.querySelectorAll("[data-graph]")];
  let data = null;
  let plots = [];

  const bytes = (n) => {
    let unit = 0;
    for (; n >= 1024 && unit < 4; unit++) n /= 1024;
    return n.toFixed(unit && n < 100 ? 1 : 0) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][unit];
  };
  const round = (n) => (n == null ? "–" : n >= 100 || Number.isInteger(n) ? String(Math.round(n)) : n.toFixed(1));
  function draw() {
    for (const p of plots) p.plot.destroy();
    plots = figures.map((figure) => {
      figure.querySelector(".plain")?.remove();
      const lines = shapes[figure.dataset.graph];
      const ofBytes = figure.dataset.graph === "bytes";
      const clock = (v, seconds) => new Date(v * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined, hour12: false });
      const axis = { stroke: style("--muted"), grid: { stroke: style("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
      const plot = new uPlot({
        width: figure.clientWidth - 32, height: 168, cursor: { y: false, drag: { x: false, y: false } }, padding: [8, 18, 0, 0],
        legend: { live: true },
        scales: { y: { range: (_, min, max) => [0, Math.max(1, (max || 0) * 1.15)] } },
        axes: [{ ...axis, space: 70, size: 28, values: (_, all) => all.map((v) => clock(v, all[1] - all[0] < 60)) }, ofBytes ? { ...axis, size: 72, values: (_, all) => all.map(bytes), incrs: Array.from({ length: 40 }, (_, i) => 2 ** i) } : { ...axis, size: 44, incrs: [0.5].concat(...[1, 10, 100, 1e3, 1e4, 1e5].map((n) => [n, 2 * n, 5 * n])) }],
        series: [{ value: (_, v) => (v == null ? "–" : new Date(v * 1000).toLocaleTimeString()) }].concat(lines.map(([label, , color], i) => ({
          label, stroke: style(color), width: 2, dash: i ? [[], [6, 3], [2, 3]][i] : undefined, fill: i ? undefined : style("--fill"), points: { show: false }, value: (_, v) => (v != null && ofBytes ? bytes(v) : round(v)),
        }))),
      }, seriesOf(lines), figure);
      plot.root.querySelector("canvas")?.setAttribute("aria-hidden", "true");
      const p = { plot, lines, figure };
      showLast(p);
      return p;
    });
  }
  // The legend has the last values, unless somebody points at others.
  function showLast(p) {
    if (!p.figure.matches(":hover")) p.plot.setLegend({ idx: data.at.length - 1 });
  }
  const seriesOf = (lines) => [data.at].concat(lines.map((l) => data[l[1]]));

  function add(now) {
    for (const key of Object.keys(data)) {
      data[key] = data[key].concat(now[key]).slice(-kept);
    }
    for (const p of plots) {
      p.plot.setData(seriesOf(p.lines));
      showLast(p);
    }
  }
  function tell(now) {
    const last = now.at.length - 1;
    for (const e of document.querySelectorAll("[data-live]")) {
      const text = round(now[e.dataset.live][last]);
      if (e.textContent !== text) e.textContent = text;
    }
  }

  // What the relay tells, while somebody looks.
  let source = null;
  let again = 0;
  function listen() {
    if (source || document.hidden) return;
    source = new EventSource("/events");
    source.addEventListener("history", (e) => {
      data = JSON.parse(e.data);
      lost.hidden = true;
      tell(data);
      if (figures.length && window.uPlot) draw();
    });
    source.addEventListener("now", (e) => {
      const now = JSON.parse(e.data);
      tell(now);
      if (data) add(now);
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) { // it was told not to come
        source = null;
        clearTimeout(again);
        again = setTimeout(listen, 30000);
      } else {
        lost.hidden = false;
      }
    };
  }
  function leave() {
    source?.close();
    source = null;
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : (listen(), refresh())));
  window.addEventListener("pagehide", leave);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (data && figures.length) draw(); });
  let sized = 0;
  window.addEventListener("resize", () => {
    clearTimeout(sized);
    sized = setTimeout(() => { for (const p of plots) p.plot.setSize({ width: p.figure.clientWidth - 32, height: 168 }); }, 100);
  });
  if (document.querySelector("[data-live], [data-graph]")) listen();
  if (document.getElementById("list")?.hasAttribute("hx-get")) setInterval(refresh, refreshEvery);
})();
