// The parts of the page that Gradio does not have: opening a sample at a second, selection, map. Text from the dataset is
// only ever set as textContent here; fragments of HTML come from the server, which escapes every value.
"use strict";
(() => {
  const $ = (selector, of = document) => of.querySelector(selector);
  const root = new URL(".", document.baseURI);
  const at = (path) => new URL(path, root);
  const ticked = new Set(JSON.parse(sessionStorage.getItem("ticked") || "[]"));

  // --- one sample -----------------------------------------------------------------------------------------------------

  const dialog = document.createElement("dialog");
  dialog.id = "sample-dialog";
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => dialog.replaceChildren());

  // A moment plays from its start; what was opened otherwise stands at its first frame.
  async function open(number, seconds, query) {
    const answer = await fetch(at(`sample/${number}?at=${seconds}&query=${query || ""}`));
    if (!answer.ok) return;
    if (!dialog.isConnected) document.body.append(dialog);
    dialog.innerHTML = await answer.text();
    dialog.classList.toggle("dark", document.body.classList.contains("dark"));
    const video = $("video", dialog);
    if (video) video.addEventListener("loadedmetadata", () => {
      if (query) seek(seconds);
      else video.currentTime = seconds;
    }, { once: true });
    showTicks();
    if (!dialog.open) dialog.showModal();
    $("h2", dialog).focus();
  }

  function seek(seconds) {
    const video = $("video", dialog);
    if (!video) return;
    video.currentTime = seconds;
    video.play().catch(() => {}); // a browser may ask for another click first
  }

  async function like(number, seconds) {
    const place = $("#results");
    if (!place) return;
    const answer = await fetch(at(`like/${number}?at=${seconds}`));
    if (!answer.ok) return;
    const own = $(".own-results", place);
    if (own) own.innerHTML = await answer.text();
    if (dialog.open) dialog.close();
    [...document.querySelectorAll('[role="tab"]')].find((tab) => tab.textContent.trim() === "Search")?.click();
    place.scrollIntoView({ block: "nearest" });
    showTicks();
  }

  // --- selection ------------------------------------------------------------------------------------------------------

  function showTicks() {
    for (const box of document.querySelectorAll("[data-tick]")) box.checked = ticked.has(box.dataset.tick);
    const count = $("#ticked");
    // Only where it differs: the observer below calls this at every change of the page.
    if (count && count.textContent !== String(ticked.size)) count.textContent = String(ticked.size);
  }

  function keepTicks() {
    sessionStorage.setItem("ticked", JSON.stringify([...ticked]));
    showTicks();
  }

  async function write(form) {
    const line = $("#written", form);
    line.textContent = "Writing …";
    const answer = await fetch(at("filter"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name: $("#new-name", form).value, keys: [...ticked] }),
    });
    line.textContent = (await answer.json()).message;
  }

  // --- events ---------------------------------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const of = (name) => event.target.closest(`[data-${name}]`)?.dataset;
    const opened = of("open"), alike = of("like"), sought = of("seek");
    if (opened) open(opened.open, Number(opened.at), opened.query);
    else if (alike) like(alike.like, $("video", dialog)?.currentTime ?? Number(alike.at));
    else if (sought) seek(Number(sought.seek));
    else if (event.target.closest("#curve")) {
      const curve = $("#curve"), box = curve.getBoundingClientRect(), { start, end } = curve.dataset;
      seek(Number(start) + ((event.clientX - box.left) / box.width) * (end - start));
    } else if (event.target.id === "clear-keys") { ticked.clear(); keepTicks(); }
    else if (event.target.id === "download-keys") {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([[...ticked].join("\n") + "\n"], { type: "text/plain" }));
      link.download = "keys.txt";
      link.click();
      URL.revokeObjectURL(link.href);
    }
  });
  document.addEventListener("change", (event) => {
    const key = event.target.dataset?.tick;
    if (key === undefined) return;
    if (event.target.checked) ticked.add(key); else ticked.delete(key);
    keepTicks();
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id === "write-dataset") { event.preventDefault(); write(event.target); }
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, [contenteditable]");
    if (event.key === "/" && !typing) { event.preventDefault(); $("#query textarea, #query input")?.focus(); }
    const hits = [...document.querySelectorAll("#hits .open")], place = hits.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && place >= 0 && hits[place + step]) { event.preventDefault(); hits[place + step].focus(); }
  });

  // --- map ------------------------------------------------------------------------------------------------------------

  function color(i, n) {
    return i < 0 ? "#8a8f98" : n <= 10 ? COLORS[i] : `hsl(${(i * 137.508) % 360} 65% 55%)`;
  }
  const COLORS = ["#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#a855f7", "#14b8a6", "#ec4899", "#84cc16", "#f97316", "#6366f1"];

  async function drawMap(canvas) {
    canvas.dataset.ready = "1";
    const data = await (await fetch(at("map.json"))).json();
    const tip = $("#map-tip"), legend = $("#map-legend"), pen = canvas.getContext("2d");
    let by = data.label.names.length ? "label" : "split", zoom = 1, x0 = 0, y0 = 0, hovered = -1, frame = 0;
    const screen = (i) => {
      const w = canvas.clientWidth, h = canvas.clientHeight, [x, y] = data.places[i];
      return [w / 2 + (x - 0.5 - x0) * (w - 40) * zoom, h / 2 - (y - 0.5 - y0) * (h - 40) * zoom];
    };
    function paint() {
      frame = 0;
      const ratio = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight, group = data[by];
      if (canvas.width !== w * ratio || canvas.height !== h * ratio) { canvas.width = w * ratio; canvas.height = h * ratio; }
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, w, h);
      const radius = Math.min(9, (data.numbers.length > 3000 ? 2 : 4) * Math.sqrt(zoom));
      for (let i = 0; i < data.numbers.length; i++) {
        const [x, y] = screen(i);
        if (x < -9 || y < -9 || x > w + 9 || y > h + 9) continue;
        pen.globalAlpha = 0.8;
        pen.fillStyle = color(group.of[i], group.names.length);
        pen.beginPath();
        pen.arc(x, y, i === hovered ? radius + 3 : radius, 0, 7);
        pen.fill();
        if (i === hovered) {
          pen.globalAlpha = 1;
          pen.lineWidth = 2;
          pen.strokeStyle = getComputedStyle(canvas).color;
          pen.stroke();
        }
      }
    }
    const refresh = () => { if (!frame) frame = requestAnimationFrame(paint); };
    function hover(i) {
      if (i !== hovered) refresh();
      hovered = i;
      tip.hidden = i < 0;
      canvas.style.cursor = i < 0 ? "grab" : "pointer";
      if (i < 0) return;
      const [x, y] = screen(i), group = data[by], name = group.of[i] < 0 ? "" : ` · ${group.names[group.of[i]]}`;
      tip.textContent = `${data.keys[i]}${name}: ${data.texts[i]}`;
      tip.style.left = `${Math.max(0, Math.min(x + 12, canvas.clientWidth - 300))}px`;
      tip.style.top = `${Math.max(0, Math.min(y + 12, canvas.clientHeight - 60))}px`;
    }
    function nearest(event) {
      const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
      let best = -1, least = 14 * 14;
      for (let i = 0; i < data.numbers.length; i++) {
        const [x, y] = screen(i), far = (x - px) ** 2 + (y - py) ** 2;
        if (far < least) { least = far; best = i; }
      }
      return best;
    }
    function zoomAt(factor, px, py) {
      const w = canvas.clientWidth, h = canvas.clientHeight, before = zoom;
      zoom = Math.max(1, Math.min(200, zoom * factor));
      x0 += ((px - w / 2) / (w - 40)) * (1 / before - 1 / zoom);
      y0 -= ((py - h / 2) / (h - 40)) * (1 / before - 1 / zoom);
      if (zoom === 1) x0 = y0 = 0;
      refresh();
    }
    const middle = () => [canvas.clientWidth / 2, canvas.clientHeight / 2];
    const touches = new Map();
    let moved = 0;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      zoomAt(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      touches.set(event.pointerId, event);
      if (touches.size === 1) moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = touches.get(event.pointerId);
      if (!before) return hover(nearest(event));
      const others = [...touches.values()].filter((other) => other.pointerId !== event.pointerId);
      const box = canvas.getBoundingClientRect();
      if (others.length) {
        const far = (p) => Math.hypot(p.clientX - others[0].clientX, p.clientY - others[0].clientY) || 1;
        zoomAt(far(event) / far(before), (event.clientX + others[0].clientX) / 2 - box.left, (event.clientY + others[0].clientY) / 2 - box.top);
      } else {
        x0 -= (event.clientX - before.clientX) / ((canvas.clientWidth - 40) * zoom);
        y0 += (event.clientY - before.clientY) / ((canvas.clientHeight - 40) * zoom);
      }
      moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
      touches.set(event.pointerId, event);
      refresh();
    });
    const lift = (event) => {
      if (touches.delete(event.pointerId) && moved < 5 && event.type === "pointerup") {
        const i = nearest(event);
        if (i >= 0) open(data.numbers[i], 0, "");
      }
    };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
    canvas.addEventListener("pointerleave", () => hover(-1));
    canvas.addEventListener("keydown", (event) => {
      const pan = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      const step = { n: 1, p: -1 }[event.key];
      if (pan) { x0 += pan[0] * 0.1 / zoom; y0 += pan[1] * 0.1 / zoom; refresh(); }
      else if (event.key === "+") zoomAt(1.3, ...middle());
      else if (event.key === "-") zoomAt(1 / 1.3, ...middle());
      else if (step) hover((hovered + step + data.numbers.length) % data.numbers.length);
      else if (event.key === "Enter" && hovered >= 0) open(data.numbers[hovered], 0, "");
      else return;
      event.preventDefault();
    });
    function explain() {
      const { names, of } = data[by];
      const shown = names.map((name, i) => [name, i]);
      if (names.length && of.includes(-1)) shown.push([`no ${by}`, -1]);
      legend.replaceChildren(...shown.map(([name, i]) => {
        const entry = document.createElement("span"), dot = document.createElement("i");
        dot.style.background = color(i, names.length);
        entry.append(dot, name);
        return entry;
      }));
      for (const button of document.querySelectorAll("#map-tools [data-by]")) {
        button.setAttribute("aria-pressed", String(button.dataset.by === by));
        button.hidden = !data[button.dataset.by].names.length;
      }
      refresh();
    }
    $("#map-tools").addEventListener("click", (event) => {
      if (event.target.dataset.by) { by = event.target.dataset.by; explain(); }
      else if (event.target.dataset.zoom) zoomAt(Number(event.target.dataset.zoom), ...middle());
    });
    new ResizeObserver(refresh).observe(canvas);
    explain();
  }

  // Gradio adds the content of a tab when the tab is first shown.
  new MutationObserver(() => {
    const canvas = $("#map:not([data-ready])");
    if (canvas && canvas.clientWidth) drawMap(canvas);
    showTicks();
  }).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["style", "class"] });
})();
