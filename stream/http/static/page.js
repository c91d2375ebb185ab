// Keeps the page up to date without reloading. The page also works without this script.

const REFRESH_MS = 1000; // at most one refresh in this time
const STATUS_MS = 15000; // refreshes this often without a change too, since silence changes the page
const content = document.getElementById("content");
const notice = document.getElementById("notice");
let generation = Number(document.body.dataset.generation);
let lostSince = null;
let startNotice = "";
let refreshing = null;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const shown = () => new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));

// ---- changing the shown page into the new one, element by element ----

function morph(from, to) {
  if (from.isEqualNode(to) || from.hasAttribute?.("data-keep")) return;
  if (from.nodeType !== Node.ELEMENT_NODE) {
    from.nodeValue = to.nodeValue;
    return;
  }
  morphAttributes(from, to);
  const keyed = new Map();
  for (const child of from.children) if (child.id) keyed.set(child.id, child);
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    let present = wanted.id ? keyed.get(wanted.id) : null;
    if (!present && !wanted.id && place && !place.id && place.nodeName === wanted.nodeName) present = place;
    if (!present) {
      from.insertBefore(wanted, place);
      continue;
    }
    if (present === place) place = place.nextSibling;
    else from.insertBefore(present, place);
    morph(present, wanted);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function morphAttributes(from, to) {
  const own = (name) => (name === "open" && from.nodeName === "DETAILS") || (name === "hidden" && "scriptOnly" in from.dataset);
  for (const { name, value } of [...to.attributes]) {
    if (!own(name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) if (!own(name) && !to.hasAttribute(name)) from.removeAttribute(name);
}

async function refresh() {
  const url = location.href;
  const response = await fetch(url, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (!response.ok && response.status !== 404) throw new Error(`${response.status}`);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  if (url !== location.href) return;
  const focused = document.activeElement;
  const before = document.getElementById("headline")?.textContent;
  morph(content, fresh.getElementById("content"));
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  document.title = fresh.title;
  generation = Number(fresh.body.dataset.generation);
  const after = document.getElementById("headline")?.textContent;
  if (after && after !== before) document.getElementById("announcer").textContent = after;
  decorate();
}

const refreshOnce = () => (refreshing ??= refresh().finally(() => (refreshing = null)));

// ---- showing the state of the connection ----

function showConnection() {
  const text = lostSince
    ? `Connection lost at ${lostSince.toLocaleTimeString()}. This page shows old data.`
    : startNotice;
  document.body.classList.toggle("lost", Boolean(lostSince));
  document.getElementById("link-text").textContent = lostSince ? "not connected" : "live";
  document.getElementById("link").className = lostSince ? "link broken" : "link up";
  if (notice.textContent !== text) notice.textContent = text;
  notice.hidden = !text;
}

function reached(ok) {
  lostSince = ok ? null : (lostSince ?? new Date());
  showConnection();
}

async function follow() {
  let failures = 0;
  for (;;) {
    while (document.hidden) await shown(); // a hidden page holds no connection
    try {
      const response = await fetch(`/api/v1/changes?since=${generation}`, { cache: "no-store" });
      if (!response.ok) throw new Error(`${response.status}`);
      const now = (await response.json()).generation;
      reached(true);
      failures = 0;
      if (now !== generation && !document.hidden) await refreshOnce();
      await pause(REFRESH_MS);
    } catch {
      reached(false);
      failures = Math.min(failures + 1, 5);
      await pause(1000 * failures);
    }
  }
}

async function watchStatus() {
  for (;;) {
    try {
      const response = await fetch("/api/v1/status", { cache: "no-store" });
      if (response.ok) {
        const status = await response.json();
        const waiting = (status.waiting_for ?? []).join(", ");
        startNotice = status.ready === false ? `This worker is not ready yet${waiting ? `. It is waiting for: ${waiting}` : ""}.` : "";
        showConnection();
      }
      if (!document.hidden) await refreshOnce();
    } catch {
      // follow() shows that the connection is lost
    }
    await pause(STATUS_MS);
  }
}

// ---- keeping ages up to date ----

function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return seconds < 2 ? "now" : `${seconds} s`;
}

function tick() {
  for (const time of content.querySelectorAll("time[data-at]")) {
    const passed = age(Date.now() - Number(time.dataset.at));
    const text = passed === "now" ? passed : passed + (time.dataset.suffix ?? "");
    if (time.textContent !== text) time.textContent = text;
  }
}

// ---- searching, sorting and paging without leaving the page ----

async function show(url) {
  history.replaceState(null, "", url);
  try {
    await refreshing?.catch(() => {});
    await refreshOnce();
  } catch {
    reached(false);
  }
}

content.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-live-link]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  show(link.href);
});

let typed = 0;
function submitFilter(form) {
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  show(`${location.pathname}${query.size ? `?${query}` : ""}`);
}
content.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-live-form]");
  if (!form) return;
  clearTimeout(typed);
  typed = setTimeout(() => submitFilter(form), 150);
});
content.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target.id === "actions") act(event.target, event.submitter);
  else submitFilter(event.target);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.nodeName)) {
    const box = document.getElementById("q");
    if (box) {
      event.preventDefault();
      box.focus();
    }
  }
});

// ---- acting on an incident or stopping the monitoring of a model, with the token ----

async function act(form, button) {
  const action = button?.value;
  if (button?.dataset.confirm && !confirm(button.dataset.confirm)) return;
  const answer = document.getElementById("action-answer");
  const given = Object.fromEntries(new FormData(form));
  const body = { by: given.by, note: given.note };
  if (action === "silence") body.silence_hours = Number(given.silence_hours);
  answer.textContent = "Sending …";
  try {
    const response = await fetch(`${form.dataset.endpoint}/${action}${form.dataset.query}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${given.token}` },
      body: JSON.stringify(body),
    });
    const result = await response.json().catch(() => ({}));
    answer.textContent = response.ok ? "Recorded." : `Refused: ${result.error ?? response.status}`;
    if (response.ok) {
      sessionStorage.setItem("driftline-token", given.token);
      localStorage.setItem("driftline-name", given.by);
      form.elements.note.value = "";
      await refreshOnce();
    }
  } catch {
    answer.textContent = "The worker could not be reached. Nothing was recorded.";
  }
}

function decorate() {
  for (const part of content.querySelectorAll("[data-script-only]")) part.hidden = false;
  const form = document.getElementById("actions");
  if (form && !form.dataset.filled) {
    form.dataset.filled = "yes";
    form.elements.token.value = sessionStorage.getItem("driftline-token") ?? "";
    form.elements.by.value = localStorage.getItem("driftline-name") ?? "";
  }
  tick();
}

// ---- reading values from the evidence chart, with the pointer and with arrow keys ----

let read = -1;
function point(figure, index) {
  const points = JSON.parse(figure.dataset.points);
  read = Math.max(0, Math.min(points.length - 1, index));
  const [when, value] = points[read];
  for (const svg of figure.querySelectorAll("svg.evidence")) {
    const { left, right, first, last } = svg.dataset;
    const x = Number(left) + ((when - first) / (last - first)) * (right - left);
    const line = svg.querySelector(".crosshair");
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    line.classList.add("on");
  }
  const moment = new Date(when).toISOString().replace("T", " ").slice(0, 19);
  figure.querySelector("output").textContent = `${moment} UTC: evidence ${value.toFixed(2)}`;
}
content.addEventListener("pointermove", (event) => {
  const svg = event.target.closest("svg.evidence");
  if (!svg) return;
  const box = svg.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
  const { left, right, first, last } = svg.dataset;
  const when = Number(first) + ((x - left) / (right - left)) * (last - first);
  const figure = svg.closest("figure");
  const points = JSON.parse(figure.dataset.points);
  let nearest = 0;
  points.forEach((each, index) => {
    if (Math.abs(each[0] - when) < Math.abs(points[nearest][0] - when)) nearest = index;
  });
  point(figure, nearest);
});
content.addEventListener("keydown", (event) => {
  const figure = event.target.closest(".plot")?.closest("figure");
  const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e9, End: 1e9 }[event.key];
  if (!figure || step === undefined) return;
  event.preventDefault();
  point(figure, (read < 0 ? JSON.parse(figure.dataset.points).length - 1 : read) + step);
});

decorate();
setInterval(tick, 1000);
document.addEventListener("visibilitychange", () => document.hidden || refreshOnce().catch(() => reached(false)));
follow();
watchStatus();
