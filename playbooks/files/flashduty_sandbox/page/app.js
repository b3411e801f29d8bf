/*
Copyright (c) 2026, the flashcat.flashduty contributors
GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
*/

const PAGES = ["timeline", "correlate", "refused", "connect"];
const STATUSES = ["Planned", "Ready", "Processing", "Done", "Canceled", "Failed"];
// What the labels of the end say of why it was not Done.
const OUTCOME = ["result", "failed_host", "failed_task"];
const RANGES = { auto: 0, "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400, "7d": 604800 };
const WINDOWS = { "1h": 3600, "6h": 21600, "1d": 86400, "3d": 259200, "7d": 604800 };
// The labels that alerts usually have come first; the others follow by name.
const FIRST_LABELS = ["service", "host", "cluster", "env", "region", "team", "owner", "group", "job", "instance", "ident"];
const OVERSCAN = 8;
const YEAR = 366 * 86400;
// What lies ahead gets at most this share of what lies behind.
const AHEAD = 0.25;

// ---- small things

const $ = (selector) => document.querySelector(selector);
const state = { lang: "en", offset: 0, loaded: false, view: null };
const number = (value) => value.toLocaleString(state.lang);

/** A text in the language of the page, its {0}, {1}, … filled in; where it has plural forms, the first one decides. */
function t(name, ...values) {
  const entry = TEXTS[state.lang][name];
  if (!values.length) return entry;
  const text = entry.other ? (entry[new Intl.PluralRules(state.lang).select(values[0])] ?? entry.other) : entry;
  return text.replace(/\{(\d)\}/g, (_whole, index) => (typeof values[index] === "number" ? number(values[index]) : values[index]));
}

const now = () => Date.now() / 1000 + state.offset;

/** An element with these properties and children; strings become text, nothing is ever parsed as markup. */
function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function icon(status) {
  const [svg, use] = ["svg", "use"].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${status}`);
  svg.append(use);
  return svg;
}

const statusMark = (status) => make("span", { className: "status", "data-status": status }, icon(status), t(status) ?? status);

/** The address where it is one of the web, else null: nothing but http and https becomes a link. */
function webAddress(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function linkTo(text) {
  const href = webAddress(text);
  if (!href) return make("span", { className: "data" }, text, " ", make("span", { className: "quiet" }, `(${t("noLink")})`));
  return make("a", { href, target: "_blank", rel: "noopener noreferrer", className: "data" }, text);
}

const chipText = (key, value) => [make("b", {}, `${key}=`), value];

function chip(key, value, tabbable) {
  const label = `${key}=${value}`;
  return make(
    "button",
    { type: "button", className: `chip data${state.view.labels.includes(label) ? " on" : ""}`, title: label, "data-filter": label, tabIndex: tabbable ? 0 : -1 },
    ...chipText(key, value),
  );
}

function labelsInOrder(labels) {
  const place = (key) => (FIRST_LABELS.includes(key) ? FIRST_LABELS.indexOf(key) : FIRST_LABELS.length);
  return Object.entries(labels).sort(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1));
}

// ---- copying, and what there is to copy

let settings = { integrations: [], app_key: "", shell: "", start: "" };

function copyButton(text, name = t("copy"), of = text) {
  const button = make("button", { type: "button", className: "button copy" });
  const say = (word) => {
    button.textContent = word;
    button.setAttribute("aria-label", `${word}: ${of}`);
  };
  say(name);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(t("copied"));
    } catch {
      const shown = button.parentNode.querySelector("code");
      if (shown) getSelection().selectAllChildren(shown);
      say(t("copyFailed"));
    }
    setTimeout(say, 2000, name);
  });
  return button;
}

const copyable = (text) => make("span", { className: "copyable" }, make("code", { className: "data" }, text), copyButton(text));

async function loadSettings() {
  try {
    settings = await ask("settings");
  } catch {
    return;
  }
  drawConnect();
  touch();
}

function drawConnect() {
  $("#shell").replaceChildren(copyable(settings.shell));
  const urls = settings.integrations.map(({ integration_id: id, push_url: url }) => make("div", {}, make("dt", {}, t("pushUrl", id)), make("dd", {}, copyable(url))));
  $("#keys").replaceChildren(...urls, make("div", {}, make("dt", {}, t("appKey")), make("dd", {}, copyable(settings.app_key))));
  const rules = [t(settings.merge === "last" ? "mergeLast" : "mergeFirst"), settings.route_label ? t("routed", settings.route_label) : t("notRouted")];
  $("#rules").replaceChildren(...rules.map((text) => make("p", {}, text)));
  $("#start-command").replaceChildren(copyable(settings.start));
}

// ---- time

let clocks = {};

function setClocks() {
  const options = { hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit" };
  clocks = {
    time: new Intl.DateTimeFormat(state.lang, options),
    full: new Intl.DateTimeFormat(state.lang, { year: "numeric", month: "2-digit", day: "2-digit", ...options }),
    day: new Intl.DateTimeFormat(state.lang, { month: "2-digit", day: "2-digit" }),
    minute: new Intl.DateTimeFormat(state.lang, { hourCycle: "h23", hour: "2-digit", minute: "2-digit" }),
  };
}

/** A date for these Unix seconds, or null where no calendar goes that far. */
function dateOf(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? null : date;
}

function clock(seconds) {
  const date = dateOf(seconds);
  if (!date) return String(seconds);
  const today = date.toDateString() === new Date(now() * 1000).toDateString();
  return today ? clocks.time.format(date) : `${clocks.day.format(date)} ${clocks.time.format(date)}`;
}

function timeElement(seconds, text = null) {
  const date = dateOf(seconds);
  if (!date) return make("time", {}, text ?? String(seconds));
  return make("time", { dateTime: date.toISOString(), title: date.toISOString() }, text ?? clocks.full.format(date));
}

function duration(seconds) {
  const units = t("units");
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [[Math.floor(whole / 86400), units.d], [Math.floor(whole / 3600) % 24, units.h], [Math.floor(whole / 60) % 60, units.min], [whole % 60, units.s]];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return seconds > 0 && seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `0 ${units.s}`;
  return parts.slice(first, first + 2).filter(([count], index) => index === 0 || count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

const endOf = (change) => (change.change_status === "Processing" ? Math.max(now(), change.start_time) : change.last_time);
const took = (change) => {
  if (change.end_time) return duration(change.end_time - change.start_time);
  return change.change_status === "Processing" ? t("soFar", duration(now() - change.start_time)) : "";
};
const span = (change) => {
  if (change.end_time) return [timeElement(change.start_time, clock(change.start_time)), " – ", timeElement(change.end_time, clock(change.end_time))];
  const word = { Planned: "filed", Ready: "plannedFor", Processing: "since" }[change.change_status];
  return [`${t(word)} `, timeElement(change.start_time, clock(change.start_time))];
};

// ---- the address keeps what is shown

const NO_FILTERS = { q: "", statuses: [], labels: [], range: "auto" };
// What the address need not say, by its names.
const USUAL = { view: "timeline", change: "", q: "", range: "auto", alert: "", at: "", window: "1d" };
const ALLOWED = { view: PAGES, range: Object.keys(RANGES), window: Object.keys(WINDOWS) };

function readAddress() {
  const query = new URLSearchParams(location.search);
  const { view: page, ...view } = Object.fromEntries(
    Object.entries(USUAL).map(([name, usual]) => {
      const value = query.get(name) ?? usual;
      return [name, ALLOWED[name]?.includes(value) === false ? usual : value];
    }),
  );
  if (!/^\d{1,11}$/.test(view.at)) view.at = "";
  return { ...view, page, statuses: query.getAll("status").filter((status) => STATUSES.includes(status)), labels: [...new Set(query.getAll("label"))] };
}

function addressOf({ page, ...view }) {
  const query = new URLSearchParams();
  for (const [name, usual] of Object.entries(USUAL)) {
    const value = name === "view" ? page : view[name];
    if (value !== usual) query.set(name, value);
  }
  for (const status of view.statuses) query.append("status", status);
  for (const label of view.labels) query.append("label", label);
  const text = query.toString();
  return `${location.pathname}${text ? `?${text}` : ""}`;
}

let typedIn = null;

/** Show another view. What is typed into one field is one step back. */
function go(changed, field = null) {
  const goesOn = field !== null && field === typedIn;
  state.view = { ...state.view, ...changed };
  typedIn = field;
  if (!goesOn) history.pushState(null, "", addressOf(state.view));
  showView();
  // A browser that counts may refuse it while a key is held down.
  if (goesOn) history.replaceState(null, "", addressOf(state.view));
}

// ---- the changes

const changes = new Map();
let strays = [];
let strayCount = 0;
let probeCount = 0;
/** The changes of one key and integration: more than one where routes led their events into several channels. */
let ofKey = new Map();
let shown = [];
let dirty = true;
const fresh = new Set();

const keyOf = (change) => `${change.integration_id} ${change.change_key}`;
const siblings = (change) => ofKey.get(keyOf(change)) ?? [change];
const addressOfChange = (id) => new URL(addressOf({ ...state.view, ...NO_FILTERS, page: "timeline", change: id }), location.href).href;

function haystack(change) {
  change.haystack ??= [change.change_key, change.title, change.description].join("\n").toLocaleLowerCase();
  return change.haystack;
}

function hasLabel(change, label) {
  if (!label.includes("=")) return Object.hasOwn(change.labels, label);
  // A key may hold = as well.
  return Object.entries(change.labels).some(([key, value]) => `${key}=${value}` === label);
}

/** What the filters let through, the latest start first, and how many there are of each status beside the status filter. */
function select(all, view, time) {
  const words = view.q.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const from = RANGES[view.range] ? time - RANGES[view.range] : -Infinity;
  const counts = Object.fromEntries(STATUSES.map((status) => [status, 0]));
  const found = [];
  for (const change of all) {
    if (endOf(change) < from || !view.labels.every((label) => hasLabel(change, label))) continue;
    if (words.length && !words.every((word) => haystack(change).includes(word))) continue;
    counts[change.change_status] += 1;
    if (view.statuses.length === 0 || view.statuses.includes(change.change_status)) found.push(change);
  }
  found.sort((a, b) => b.start_time - a.start_time || b.number - a.number);
  return { found, counts };
}

// ---- the axis

let axis = { from: 0, to: 1 };

function fitAxis() {
  const time = now();
  const seconds = RANGES[state.view.range];
  let from = seconds ? time - seconds : time;
  let to = seconds ? time : -Infinity;
  for (const change of shown) {
    if (!seconds) from = Math.min(from, change.start_time);
    // One change of a far year must not make all others a dot.
    to = Math.max(to, Math.min(endOf(change), time + YEAR));
  }
  // Nor one of the next hours; its bar ends at the edge then.
  if (from < time) to = Math.min(to, time + Math.max(10, AHEAD * (time - from)));
  to = Math.max(to, from + 10);
  const margin = (to - from) * 0.02;
  axis = { from: seconds ? from : from - margin, to: to + margin };
}

const place = (seconds) => (100 * (seconds - axis.from)) / (axis.to - axis.from);

function drawAxis() {
  const steps = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800, 2592000, 7776000, 31536000];
  const step = steps.find((size) => (axis.to - axis.from) / size <= 6) ?? 31536000 * Math.ceil((axis.to - axis.from) / 31536000 / 6);
  const shift = new Date(axis.to * 1000).getTimezoneOffset() * 60;
  const labels = [];
  const lines = [];
  for (let tick = Math.ceil((axis.from - shift) / step) * step + shift; tick < axis.to; tick += step) {
    const date = dateOf(tick);
    if (!date) break;
    const at = place(tick);
    const text = step >= 86400 ? clocks.day.format(date) : step >= 60 ? clocks.minute.format(date) : clocks.time.format(date);
    if (at > 4 && at < 94) {
      const label = make("span", {}, text);
      label.style.left = `${at}%`;
      labels.push(label);
    }
    lines.push(`transparent calc(${at}% - 0.5px), var(--line) calc(${at}% - 0.5px) calc(${at}% + 0.5px), transparent calc(${at}% + 0.5px)`);
  }
  $("#scale").replaceChildren(...labels);
  const current = place(now());
  lines.push(`transparent calc(${current}% - 1px), var(--accent) calc(${current}% - 1px) ${current}%, transparent ${current}%`);
  $("#changes").style.setProperty("--ticks", `linear-gradient(90deg, ${lines.join(", ")})`);
}

function drawBar(row) {
  const left = Math.max(0, Math.min(99, place(row.change.start_time)));
  const right = Math.max(left, Math.min(100, place(endOf(row.change))));
  row.bar.style.left = `min(${left}%, 100% - 1rem)`;
  row.bar.style.width = `${right - left}%`;
  row.bar.classList.toggle("beyond", row.change.start_time > axis.to);
  row.took.textContent = took(row.change);
}

// ---- the rows: only those near the window exist

const list = $("#changes");
const rows = new Map();
const opened = new Map();
let tops = [];
let active = null;

let rowHeight = 0;

function measureRow() {
  const style = getComputedStyle(document.documentElement);
  // It is in rem.
  rowHeight = parseFloat(style.getPropertyValue("--row")) * parseFloat(style.fontSize);
}

/** Where each row begins, below those that are open. */
function layOut() {
  let bottom = 0;
  tops = shown.map((change) => {
    const top = bottom;
    bottom += rowHeight + (opened.get(change.change_id)?.height ?? 0);
    return top;
  });
  list.style.height = `${bottom}px`;
}

const indexAt = (y) => Math.max(0, tops.findLastIndex((top) => top <= y));

function makeRow(change) {
  const row = { id: change.change_id, stamp: "", change };
  row.status = make("span", { className: "status" });
  row.title = make("button", { type: "button", className: "title data", tabIndex: -1, "aria-controls": `detail-${row.id}` });
  row.key = make("span", { className: "key mono data" });
  row.what = make("div", { className: "what" }, make("h3", {}, row.title));
  row.refused = make("span", { className: "refused" });
  row.why = make("span", { className: "why data" });
  row.channel = make("span", { className: "channel data" });
  row.chips = make("div", { className: "chips" });
  row.when = make("div", { className: "when" });
  row.took = make("span");
  row.discarded = make("span", { className: "discarded" });
  row.bar = make("div", { className: "bar" });
  row.line = make("div", { className: "line" }, row.status, row.what, row.when, make("div", { className: "took" }, row.took, row.discarded), row.refused, make("div", { className: "about" }, row.why, row.key, row.channel, row.chips), make("div", { className: "track", "aria-hidden": "true" }, row.bar));
  row.element = make("li", { className: "row", "data-id": row.id }, row.line);
  return row;
}

function fillRow(row, change) {
  const split = siblings(change).length;
  const stamp = `${change.revision} ${split} ${state.lang} ${state.view.labels.join("\n")}`;
  if (row.stamp === stamp) return;
  row.change = change;
  row.stamp = stamp;
  row.element.dataset.status = change.change_status;
  row.status.replaceChildren(icon(change.change_status), t(change.change_status));
  row.title.textContent = change.title;
  row.title.title = change.title;
  row.key.textContent = change.change_key;
  row.what.querySelector("a")?.remove();
  const href = webAddress(change.link);
  if (href) row.what.append(make("a", { href, target: "_blank", rel: "noopener noreferrer", tabIndex: -1, title: change.link }, `${t("link")} ↗`));
  row.when.replaceChildren(...span(change));
  row.chips.replaceChildren(...labelsInOrder(change.labels).slice(0, 8).map(([key, value]) => chip(key, value, false)));
  row.why.textContent = ["Canceled", "Failed"].includes(change.change_status) ? OUTCOME.map((name) => change.labels[name]).filter(Boolean).join(" · ") : "";
  row.channel.textContent = change.channel_name || split > 1 ? t("inChannel", change.channel_name || t("noChannel")) : "";
  row.channel.classList.toggle("split", split > 1);
  row.refused.textContent = change.refused_count ? t("refusedHere", change.refused_count) : "";
  row.discarded.textContent = change.discarded_count ? t("discardedHere", change.discarded_count) : "";
  if (fresh.delete(change.change_id)) flash(row.element);
}

function flash(element) {
  element.classList.remove("fresh");
  void element.offsetWidth;
  element.classList.add("fresh");
}

function placeRow(row, index) {
  const { element } = row;
  element.style.top = `${tops[index]}px`;
  element.setAttribute("aria-setsize", shown.length);
  element.setAttribute("aria-posinset", index + 1);
  row.title.tabIndex = row.id === active ? 0 : -1;
  const detail = opened.get(row.id);
  row.title.setAttribute("aria-expanded", Boolean(detail));
  element.classList.toggle("open", Boolean(detail));
  if (detail && detail.element.parentNode !== element) element.append(detail.element);
  if (!detail) element.querySelector(":scope > .detail")?.remove();
  drawBar(row);
}

function drawRows() {
  if (state.view.page !== "timeline") return;
  const box = list.getBoundingClientRect();
  const from = Math.max(0, indexAt(-box.top) - OVERSCAN);
  const to = Math.min(shown.length, indexAt(window.innerHeight - box.top) + OVERSCAN + 1);
  const wanted = new Map();
  for (let index = from; index < to; index += 1) wanted.set(shown[index].change_id, index);
  // Who has the focus stays, wherever the window is.
  const focused = document.activeElement?.closest?.(".row")?.dataset.id;
  if (focused && !wanted.has(focused)) {
    const index = shown.findIndex((change) => change.change_id === focused);
    if (index >= 0) wanted.set(focused, index);
  }
  if (!wanted.has(active) && shown.length && to > from) active = focused && wanted.has(focused) ? focused : shown[from].change_id;
  for (const [id, row] of rows) {
    if (!wanted.has(id)) {
      row.element.remove();
      rows.delete(id);
    }
  }
  let previous = null;
  for (const [id, index] of [...wanted].sort((a, b) => a[1] - b[1])) {
    const row = rows.get(id) ?? makeRow(shown[index]);
    rows.set(id, row);
    fillRow(row, shown[index]);
    placeRow(row, index);
    const next = previous ? previous.nextSibling : list.firstChild;
    if (row.element !== next) list.insertBefore(row.element, next);
    previous = row.element;
  }
}

/** Keep what is read in its place while changes come in above it. */
function anchored(update) {
  const box = list.getBoundingClientRect();
  const index = box.top < 0 && shown.length ? indexAt(-box.top) : -1;
  const id = index < 0 ? null : shown[index].change_id;
  const before = tops[index];
  update();
  if (id === null) return;
  const after = shown.findIndex((change) => change.change_id === id);
  if (after >= 0 && tops[after] !== before) window.scrollBy({ top: tops[after] - before, behavior: "instant" });
}

function refresh() {
  ofKey = Map.groupBy(changes.values(), keyOf);
  const { found, counts } = select(changes.values(), state.view, now());
  anchored(() => {
    shown = found;
    layOut();
  });
  fitAxis();
  drawAxis();
  drawRows();
  for (const status of STATUSES) $(`#count-${status}`).textContent = number(counts[status]);
  // No push can say it.
  $("#statuses [data-status=Failed]").hidden = counts.Failed === 0 && !state.view.statuses.includes("Failed");
  $("#count").textContent = shown.length === changes.size ? t("countAll", changes.size) : t("countSome", shown.length, changes.size);
  const empty = $("#empty");
  empty.hidden = shown.length > 0;
  if (changes.size) empty.replaceChildren(make("p", {}, t("noMatch")));
  else if (!state.loaded) empty.replaceChildren(make("p", {}, t("loading")));
  else empty.replaceChildren(make("p", {}, t("nothing")), make("p", {}, t("nothingHelp")), make("p", {}, copyable(settings.shell)));
  for (const [page, count] of [["timeline", changes.size], ["refused", strayCount]]) {
    $(`nav [data-view=${page}]`).textContent = `${t(page)} (${number(count)})`;
  }
  $("#actions").hidden = changes.size + strayCount + probeCount === 0;
  dirty = false;
}

function touch() {
  if (dirty) return;
  dirty = true;
  requestAnimationFrame(refresh);
}

function tick() {
  if (document.hidden || state.view.page !== "timeline") return;
  // Time goes on: bars grow, and what is older than the range leaves.
  if (RANGES[state.view.range]) return touch();
  if (!shown.length) return;
  fitAxis();
  drawAxis();
  for (const row of rows.values()) drawBar(row);
}

// ---- what is open

function toggle(id) {
  active = id;
  if (opened.has(id)) closeDetail(id);
  else openDetail(id);
  layOut();
  drawRows();
}

const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const detail = opened.get(target.dataset.of);
    if (detail && target.isConnected) detail.height = target.getBoundingClientRect().height;
  }
  layOut();
  drawRows();
});

function openDetail(id) {
  const element = make("div", { className: "detail", role: "region", id: `detail-${id}`, "data-of": id });
  opened.set(id, { element, height: 0, revision: -1, lang: "", busy: false });
  sizes.observe(element);
  loadDetail(id);
}

function closeDetail(id) {
  const { element } = opened.get(id);
  sizes.unobserve(element);
  element.remove();
  opened.delete(id);
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error?.message ?? String(answer.status));
  return answer.json();
}

async function loadDetail(id) {
  const detail = opened.get(id);
  if (!detail || detail.busy) return;
  detail.busy = true;
  try {
    const found = await ask(`change?change_id=${encodeURIComponent(id)}`);
    detail.found = found;
    detail.revision = found.change.revision;
    fillDetail(detail);
  } catch {
    if (!detail.found) detail.element.replaceChildren(make("p", { className: "problem" }, t("failed")));
    return;
  } finally {
    detail.busy = false;
  }
  // It may have moved on while the answer was on its way.
  if (changes.get(id)?.revision > detail.revision) loadDetail(id);
}

const fact = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", { className: "data" }, ...value));

function fillDetail(detail) {
  const { change, arrivals, omitted } = detail.found;
  const { element } = detail;
  element.dataset.status = change.change_status;
  element.setAttribute("aria-label", t("details", change.title));
  const facts = make(
    "dl",
    { className: "facts" },
    fact(t("key"), make("span", { className: "mono" }, change.change_key)),
    fact(t("start"), timeElement(change.start_time)),
    change.end_time ? fact(t("end"), timeElement(change.end_time)) : null,
    change.end_time ? fact(t("duration"), took(change)) : null,
    change.link ? fact(t("link"), linkTo(change.link)) : null,
    fact(t("integration"), change.integration_name),
    change.channel_name || siblings(change).length > 1 ? fact(t("channel"), change.channel_name || t("noChannel")) : null,
  );
  const labels = make("div", { className: "chips", role: "group", "aria-label": t("labels") }, ...labelsInOrder(change.labels).map(([key, value]) => chip(key, value, true)));
  const actions = make("div", { className: "row-actions" }, copyButton(addressOfChange(change.change_id), t("copyAddress"), change.title), copyButton(JSON.stringify(change, null, 2), t("copyJson"), change.title));
  const parts = [make("p", { className: "headline data" }, change.title), facts];
  if (change.description) parts.push(make("p", { className: "says data" }, change.description));
  parts.push(labels, ...splitNote(change), actions);
  if (omitted > 0) parts.push(make("p", { className: "quiet" }, t("omitted", omitted)));
  // The events that are already there stay, so that a reader of one of them keeps it under the fingers.
  const old = detail.lang === state.lang ? element.querySelector(".arrivals") : null;
  const events = old ?? make("ol", { className: "arrivals", "aria-label": t("events") });
  const known = new Set([...events.children].map((child) => child.dataset.number));
  for (const arrival of arrivals) {
    if (!known.has(String(arrival.number))) events.append(make("li", { "data-number": arrival.number }, ...arrivalParts(arrival)));
  }
  detail.lang = state.lang;
  const focused = document.activeElement?.dataset.filter;
  if (old) {
    while (element.firstChild !== old) element.firstChild.remove();
    old.before(...parts);
  } else {
    element.replaceChildren(...parts, events);
  }
  if (focused && !document.activeElement?.closest(".detail")) {
    [...labels.children].find((child) => child.dataset.filter === focused && element.contains(child))?.focus({ preventScroll: true });
  }
}

/** Where the key has changes in other channels: why, and the way to them. */
function splitNote(change) {
  const all = siblings(change);
  if (all.length < 2) return [];
  const others = all.filter((other) => other.change_id !== change.change_id);
  const links = others.flatMap((other) => [" ", make("a", { href: addressOfChange(other.change_id), "data-change": other.change_id }, t("inChannel", other.channel_name || t("noChannel")))]);
  return [make("p", { className: "split" }, t("split", all.length), ...links)];
}

/** What became of an event that was taken: discarded, or with fields that its change does not show. */
function fateOf(arrival) {
  if (arrival.discarded) return [make("p", { className: "fate" }, make("b", {}, t("discarded")), " ", t("discardedWhat"))];
  const late = arrival.ignored.filter((name) => ["change_status", "labels"].includes(name));
  const text = arrival.ignored.filter((name) => !late.includes(name));
  return [["ignoredText", text], ["ignoredLate", late]].filter(([, names]) => names.length).map(([name, names]) => make("p", { className: "fate" }, t(name, names.join(", "))));
}

function arrivalParts(arrival) {
  const taken = arrival.verdict === "accepted";
  const head = taken ? statusMark(arrival.change_status) : make("span", { className: "refusal" }, arrival.verdict === "fault" ? t("notTaken") : t("refusedAs", arrival.verdict));
  const late = taken ? arrival.received - arrival.event_time : 0;
  const facts = make(
    "dl",
    { className: "facts" },
    taken ? fact(t("happened"), timeElement(arrival.event_time)) : null,
    fact(t("arrived"), timeElement(arrival.received), late >= 2 ? ` (${t("later", duration(late))})` : ""),
    fact(t("request"), make("span", { className: "mono" }, arrival.request_id)),
    taken ? null : fact(t("answer"), arrival.status === null ? t("noAnswer") : `HTTP ${arrival.status}`),
    arrival.fault ? fact(t("fault"), arrival.fault) : null,
    arrival.user_agent ? fact(t("client"), arrival.user_agent) : null,
  );
  const left = make("div", {}, head, ...fateOf(arrival), arrival.message ? make("p", { className: "data" }, arrival.message) : null, facts);
  return [left, bodyOf(arrival)];
}

function bodyOf(arrival) {
  if (!arrival.body) return make("p", { className: "quiet" }, t("noBody"));
  const rest = arrival.body_characters - arrival.body.length;
  return make("pre", { tabIndex: 0, className: "data", "aria-label": t("body"), role: "group" }, readable(arrival.body) + (rest > 0 ? `\n${t("cut", rest)}` : ""));
}

/** JSON with line breaks; anything else as it came, and so are numbers that JavaScript would change. */
function readable(text) {
  if (/\d{16}/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// ---- refused requests that belong to no change

function drawStrays() {
  const ol = $("#strays");
  const known = new Map([...ol.children].map((child) => [child.dataset.number, child]));
  const stamp = (stray) => `${stray.number} ${state.lang}`;
  const listed = strays.filter((stray) => !stray.probe || $("#show-probes").checked);
  ol.replaceChildren(...listed.map((stray) => known.get(stamp(stray)) ?? strayItem(stray, stamp(stray))));
  $("#no-strays").hidden = listed.length > 0;
  $("#probes").hidden = probeCount === 0;
  $("#probes-text").textContent = t("showProbes", probeCount);
}

function strayItem(stray, stamp) {
  const code = stray.verdict === "fault" ? t("notTaken") : stray.verdict;
  const summary = make(
    "summary",
    {},
    make("span", { className: "refusal" }, `${stray.status ?? ""} ${code}`.trim()),
    " ",
    ...(stray.probe ? [make("span", { className: "chip" }, t("probe")), " "] : []),
    ...(stray.change_key ? [make("b", { className: "mono data" }, stray.change_key), " "] : []),
    timeElement(stray.received, clock(stray.received)),
    " ",
    make("span", { className: "mono data" }, `${stray.method} ${stray.path}`),
    make("div", { className: "data" }, stray.message),
  );
  const facts = make(
    "dl",
    { className: "facts" },
    stray.change_key ? fact(t("key"), make("span", { className: "mono" }, stray.change_key)) : null,
    fact(t("request"), make("span", { className: "mono" }, stray.request_id)),
    stray.user_agent ? fact(t("client"), stray.user_agent) : null,
  );
  return make("li", { "data-number": stamp }, make("details", {}, summary, facts, bodyOf(stray)));
}

// ---- try correlation

/** The labels in a text: JSON, {key="value"} as Prometheus has it, or key=value lines. An error says what cannot be read. */
function parseLabels(text) {
  const trimmed = text.trim();
  if (/^\{\s*("|\})/.test(trimmed)) {
    let value;
    try {
      value = JSON.parse(trimmed);
    } catch {
      throw new Error(t("badJson"));
    }
    const labels = typeof value.labels === "object" && value.labels !== null ? value.labels : value;
    if (Array.isArray(labels) || Object.values(labels).some((item) => typeof item === "object")) throw new Error(t("badJson"));
    return Object.fromEntries(Object.entries(labels).map(([key, item]) => [key, String(item)]));
  }
  const labels = Object.create(null);
  const lines = trimmed.startsWith("{") ? [...trimmed.matchAll(/([^{},=\s]+)\s*=\s*"((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => `${key}=${value.replace(/\\(.)/g, "$1")}`) : text.split("\n");
  lines.forEach((line, index) => {
    if (!line.trim()) return;
    const [, key, value] = /^\s*([^=:\s]+)\s*[=:]\s*(.*?)\s*,?\s*$/.exec(line) ?? [];
    if (key === undefined) throw new Error(t("unreadable", index + 1));
    labels[key] = /^".*"$/.test(value) ? value.slice(1, -1) : value;
  });
  return labels;
}

let asked = 0;
let askTimer = 0;

function correlateSoon() {
  clearTimeout(askTimer);
  askTimer = setTimeout(correlate, 200);
}

async function correlate() {
  askTimer = 0;
  if (state.view.page !== "correlate") return;
  const turn = (asked += 1);
  const problem = $("#alert-problem");
  const field = $("#alert-labels");
  let labels;
  try {
    labels = parseLabels(state.view.alert);
    problem.textContent = "";
    field.removeAttribute("aria-invalid");
  } catch (error) {
    problem.textContent = error.message;
    field.setAttribute("aria-invalid", "true");
    return;
  }
  if (!Object.keys(labels).length) {
    $("#result").replaceChildren(make("p", { className: "empty" }, t("noAlert")));
    return;
  }
  const time = state.view.at ? Number(state.view.at) : Math.floor(now());
  try {
    const found = await ask("correlate", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ labels, time, window: WINDOWS[state.view.window] }) });
    if (turn === asked) drawMatches(found, labels);
  } catch {
    if (turn === asked) problem.textContent = t("failed");
  }
}

function drawMatches(found, labels) {
  const { matches, near_misses: near } = found;
  const parts = [make("h2", {}, t("brought", matches.total), " ", make("span", { className: "quiet" }, t("of", found.considered)))];
  if (matches.total) parts.push(make("ol", { className: "matches" }, ...matches.items.map((match) => matchItem(match, labels))));
  else parts.push(make("p", { className: "empty" }, t("noneShared")));
  if (near.total) {
    parts.push(make("h2", {}, t("nearly")), make("p", { className: "quiet" }, t("nearlyWhat")), make("ol", { className: "matches unranked" }, ...near.items.map((match) => matchItem(match, labels))));
  }
  $("#result").replaceChildren(...parts);
}

function matchItem(match, labels) {
  const { change } = match;
  const waiting = ["Planned", "Ready"].includes(change.change_status);
  const words = { before: waiting ? "toldBefore" : "before", after: waiting ? "dueAfter" : "after" };
  const away = match.moment === "during" ? t("during") : t(words[match.moment], duration(match.gap));
  const differs = (key) => Object.hasOwn(match.differing, key);
  const note = { listed: `; ${t("asListed")}`, case: `; ${t("asCase")}`, other: "" };
  const chips = labelsInOrder(change.labels)
    .sort(([a], [b]) => match.shared.includes(b) - match.shared.includes(a) || differs(b) - differs(a))
    .map(([key, value]) => {
      if (match.shared.includes(key)) return make("mark", { className: "chip data" }, ...chipText(key, value));
      if (!differs(key)) return make("span", { className: "chip data" }, ...chipText(key, value));
      return make("span", { className: "chip differs data" }, ...chipText(key, value), ` (${t("alertSays", labels[key])}${note[match.differing[key]]})`);
    });
  const missing = Object.keys(labels).filter((key) => !Object.hasOwn(change.labels, key));
  const body = make(
    "div",
    {},
    make("div", { className: "what" }, statusMark(change.change_status), make("h3", { className: "data" }, change.title), make("span", { className: "mono quiet data" }, change.change_key)),
    make("p", {}, `${t("shared", match.shared.length)} · ${away}`, make("span", { className: "quiet" }, " · ", ...span(change))),
    make("div", { className: "chips" }, ...chips),
    missing.length ? make("p", { className: "quiet" }, `${t("missing")}: ${missing.map((key) => `${key}=${labels[key]}`).join(", ")}`) : null,
  );
  return make("li", { "data-key": change.change_key }, body);
}

// ---- news from the receiver

let stream = null;
let lastId = "";
const announced = new Map();

function connect() {
  if (stream || document.hidden) return;
  stream = new EventSource(`stream${lastId ? `?after=${encodeURIComponent(lastId)}` : ""}`);
  stream.addEventListener("open", () => {
    // What runs now may have other keys.
    if (state.link === "lost") loadSettings();
    setLink("live");
  });
  stream.addEventListener("changes", (event) => receive(JSON.parse(event.data), event.lastEventId));
  stream.addEventListener("error", () => {
    setLink("lost");
    if (stream?.readyState !== EventSource.CLOSED) return;
    stream = null;
    setTimeout(connect, 5000);
  });
}

/** A page that nobody sees holds no connection: a browser has six for one address. */
function pauseOrGoOn() {
  if (!document.hidden) return connect();
  stream?.close();
  stream = null;
  setLink("paused");
}

function setLink(name) {
  state.link = name;
  $("#link-state").dataset.state = name;
  $("#link-state").textContent = t(name);
  $("#stopped").hidden = name !== "lost";
}

function receive(message, id) {
  state.offset = message.now - Date.now() / 1000;
  lastId = id;
  if (message.reset) {
    if (state.loaded) loadSettings();
    changes.clear();
  }
  for (const change of message.changes) {
    changes.set(change.change_id, change);
    if (!message.reset) {
      announced.set(change.change_id, change);
      fresh.add(change.change_id);
    }
    const detail = opened.get(change.change_id);
    if (detail && detail.revision !== change.revision) loadDetail(change.change_id);
  }
  if (message.reset) {
    state.loaded = true;
    for (const open of [...opened.keys()]) if (!changes.has(open)) closeDetail(open);
    // The page's address names it.
    requestAnimationFrame(() => showChange(state.view.change));
  }
  if (message.strays) {
    strays = message.strays;
    strayCount = message.stray_count;
    probeCount = message.probe_count;
    drawStrays();
  }
  suggestLabels();
  touch();
  if (state.view.page === "correlate") askTimer ||= setTimeout(correlate, 1000);
}

function announce() {
  if (!announced.size) return;
  const [change] = announced.values();
  $("#news").textContent = announced.size === 1 ? t("update", change.title, t(change.change_status)) : t("updates", announced.size);
  announced.clear();
}

let suggestTimer = 0;

function suggestLabels() {
  clearTimeout(suggestTimer);
  suggestTimer = setTimeout(() => {
    const counts = new Map();
    for (const change of changes.values()) {
      for (const [key, value] of Object.entries(change.labels)) counts.set(`${key}=${value}`, (counts.get(`${key}=${value}`) ?? 0) + 1);
    }
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 100);
    $("#label-list").replaceChildren(...most.map(([value]) => make("option", { value })));
  }, 500);
}

// ---- putting it together

/** Open a change and bring it into view; what the filters hide stays hidden. */
function showChange(id) {
  if (!changes.has(id)) return;
  if (dirty) refresh();
  const index = shown.findIndex((change) => change.change_id === id);
  if (index < 0) return;
  if (!opened.has(id)) toggle(id);
  focusRow(index);
}

function showView() {
  const { view } = state;
  for (const section of document.querySelectorAll("[data-page]")) section.hidden = section.dataset.page !== view.page;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    link.href = addressOf({ ...view, page: link.dataset.view });
    link.ariaCurrent = link.dataset.view === view.page ? "page" : null;
  }
  const set = (selector, value) => {
    if ($(selector).value !== value) $(selector).value = value;
  };
  set("#search", view.q);
  set("#range", view.range);
  set("#alert-labels", view.alert);
  set("#alert-time", view.at ? localTime(Number(view.at)) : "");
  set("#window", view.window);
  for (const status of STATUSES) $(`#status-${status}`).checked = view.statuses.includes(status);
  $("#chosen").replaceChildren(...view.labels.map((label) => make("li", {}, make("button", { type: "button", className: "chip on data", "data-filter": label, "aria-label": t("remove", label) }, `${label} ×`))));
  $("#chosen").hidden = view.labels.length === 0;
  $("#clear").hidden = !(view.q || view.statuses.length || view.labels.length || view.range !== "auto");
  refresh();
  if (view.page === "correlate") correlateSoon();
}

function localTime(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

function setLanguage(lang) {
  state.lang = lang;
  document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  setClocks();
  $("#language").value = lang;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = t(element.dataset.hint);
  const options = (names) => Object.entries(names).map(([value, text]) => make("option", { value }, text));
  $("#range").replaceChildren(...options(t("ranges")));
  $("#window").replaceChildren(...options(t("windows")));
  $("#statuses").replaceChildren(
    ...STATUSES.map((status) => make("label", { "data-status": status }, make("input", { type: "checkbox", id: `status-${status}`, value: status }), statusMark(status), make("span", { id: `count-${status}`, className: "quiet" }, "0"))),
  );
  for (const id of ["#search", "#label-input"]) $(id).size = [...$(id).placeholder].reduce((sum, letter) => sum + (letter > "\u2e80" ? 2 : 1), 1);
  drawConnect();
  drawStrays();
  if (state.link) setLink(state.link);
  for (const detail of opened.values()) if (detail.found) fillDetail(detail);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("#theme").value = theme;
}

/** What the browser keeps for this page, where it may. */
function kept(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function toggleLabel(label) {
  const { labels } = state.view;
  go({ labels: labels.includes(label) ? labels.filter((other) => other !== label) : [...labels, label] });
}

function focusRow(index) {
  if (!shown.length) return;
  const target = Math.max(0, Math.min(shown.length - 1, index));
  active = shown[target].change_id;
  const top = list.getBoundingClientRect().top + tops[target];
  const head = $(".axis").offsetHeight;
  if (top < head) window.scrollBy({ top: top - head, behavior: "instant" });
  else if (top + rowHeight > window.innerHeight) window.scrollBy({ top: top + rowHeight - window.innerHeight, behavior: "instant" });
  drawRows();
  rows.get(active)?.title.focus({ preventScroll: true });
  drawRows();
}

list.addEventListener("keydown", (event) => {
  if (!event.target.classList.contains("title") || event.altKey || event.ctrlKey || event.metaKey) return;
  const index = shown.findIndex((change) => change.change_id === event.target.closest(".row").dataset.id);
  const screen = Math.max(1, Math.floor(window.innerHeight / rowHeight) - 2);
  const target = { ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + screen, PageUp: index - screen, Home: 0, End: shown.length - 1 }[event.key];
  if (target === undefined) return;
  event.preventDefault();
  focusRow(target);
});
list.addEventListener("click", (event) => {
  const other = event.target.closest("[data-change]");
  if (other && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    go({ ...NO_FILTERS, page: "timeline", change: other.dataset.change });
    return showChange(other.dataset.change);
  }
  const chosen = event.target.closest("[data-filter]");
  if (chosen) return toggleLabel(chosen.dataset.filter);
  const line = event.target.closest(".line");
  if (line && !event.target.closest("a") && (event.detail === 0 || !String(getSelection()))) toggle(line.parentNode.dataset.id);
});
list.addEventListener("focusin", (event) => {
  const row = event.target.closest(".row");
  if (row && row.dataset.id !== active) {
    active = row.dataset.id;
    for (const [id, other] of rows) other.title.tabIndex = id === active ? 0 : -1;
  }
});
window.addEventListener("scroll", drawRows, { passive: true });
window.addEventListener("resize", () => {
  measureRow();
  layOut();
  drawRows();
});
window.addEventListener("popstate", () => {
  typedIn = null;
  state.view = readAddress();
  showView();
});
document.addEventListener("visibilitychange", pauseOrGoOn);
window.addEventListener("pagehide", () => stream?.close());
$("header nav").addEventListener("click", (event) => {
  const link = event.target.closest("[data-view]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go({ page: link.dataset.view, change: "" });
  window.scrollTo({ top: 0, behavior: "instant" });
});
$("#search").addEventListener("input", (event) => go({ q: event.target.value }, "search"));
$("#statuses").addEventListener("change", () => go({ statuses: STATUSES.filter((status) => $(`#status-${status}`).checked) }));
$("#label-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = $("#label-input").value.trim();
  $("#label-input").value = "";
  if (label && !state.view.labels.includes(label)) toggleLabel(label);
});
$("#range").addEventListener("change", (event) => go({ range: event.target.value }));
$("#chosen").addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-filter]");
  if (!chosen) return;
  toggleLabel(chosen.dataset.filter);
  $("#label-input").focus();
});
$("#clear").addEventListener("click", () => {
  go(NO_FILTERS);
  $("#search").focus();
});
$("#alert").addEventListener("submit", (event) => event.preventDefault());
$("#alert-labels").addEventListener("input", (event) => go({ alert: event.target.value }, "alert"));
$("#alert-time").addEventListener("input", (event) => {
  const time = new Date(event.target.value).getTime();
  go({ at: Number.isNaN(time) || time < 0 ? "" : String(Math.floor(time / 1000)) }, "at");
});
$("#alert-now").addEventListener("click", () => go({ at: String(Math.floor(now())) }));
$("#window").addEventListener("change", (event) => go({ window: event.target.value }));
$("#show-probes").addEventListener("change", drawStrays);
$("#add-integration").addEventListener("click", async () => {
  try {
    settings = await ask("integrations", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
    drawConnect();
    $("#connect-problem").textContent = "";
  } catch (error) {
    $("#connect-problem").textContent = error.message;
  }
});
for (const [name, sure] of [["#forget", true], ["#forget-no", false]]) {
  $(name).addEventListener("click", () => {
    $("#forget-sure").hidden = !sure;
    $(sure ? "#forget-no" : "#forget").focus();
  });
}
$("#forget-yes").addEventListener("click", async () => {
  await ask("changes", { method: "DELETE" });
  $("#forget-sure").hidden = true;
  $("#search").focus();
});
$("#language").addEventListener("change", (event) => {
  setLanguage(kept("flashduty-language", event.target.value) ?? event.target.value);
  showView();
});
$("#theme").addEventListener("change", (event) => setTheme(kept("flashduty-theme", event.target.value) ?? event.target.value));

const wished = kept("flashduty-language") ?? navigator.language;
setTheme(["light", "dark"].includes(kept("flashduty-theme")) ? kept("flashduty-theme") : "auto");
state.view = readAddress();
setLanguage(wished.startsWith("zh") ? "zh" : "en");
measureRow();
showView();
await loadSettings();
connect();
setInterval(tick, 1000);
setInterval(announce, 3000);
