// Keeps the player current. The server renders every word and picture; this asks when it
// was told to, puts in what changed, and counts the seconds in between.

const player = document.getElementById("player");
const parts = [...player.querySelectorAll("[data-part]")];
const part = (name, within = player) => within.querySelector(`[data-part="${name}"]`);
const isTrack = ({ dataset }) => dataset.state === "playing" || dataset.state === "paused";

// What the server last said of each part, so that our own changes do not count as news.
const source = (element) => element?.dataset.key ?? element?.innerHTML ?? "";
const said = new Map(parts.map((element) => [element, source(element)]));
let trackShown = isTrack(player);

function put(old, fresh) {
  if (said.get(old) === source(fresh)) return;
  said.set(old, source(fresh));
  const links = () => [...old.querySelectorAll("a, [tabindex]")];
  const focused = links().indexOf(document.activeElement);
  old.replaceChildren(...(fresh?.childNodes ?? []));
  if (focused >= 0) (links()[focused] ?? player).focus({ preventScroll: true });
  nameTheHour();
}

function show(fresh, arrived) {
  for (const old of parts) put(old, part(old.dataset.part, fresh));
  for (const { name, value } of fresh.attributes) player.setAttribute(name, value);
  trackShown = isTrack(fresh);
  document.title = fresh.dataset.title;
  wind(fresh, arrived);
}

// On trouble the last track stays on the screen, with a sentence under it.
function showTrouble(fresh) {
  const line = document.createElement("p");
  line.append(...part("title", fresh).childNodes, " ", ...part("advice", fresh).childNodes);
  put(part("status"), line);
  player.dataset.state = fresh.dataset.state;
}

// "In about 20 minutes" grows stale on a page that stays open; a time of day does not.
function nameTheHour() {
  for (const { dataset, firstChild } of player.querySelectorAll("[data-wait]")) {
    const hour = new Date(Date.now() + dataset.wait * 1000).toLocaleTimeString([], { timeStyle: "short" });
    if (dataset.wait >= 100) firstChild.data = `at ${hour}`;
    delete dataset.wait;
  }
}

// ---- The clock: runs on from the moment an answer arrived, never past the end
let clock, ticker;
const played = (c) => Math.min(c.end, c.start + (c.runs ? performance.now() - c.at : 0));

function wind({ dataset }, at) {
  const [start, end] = [Math.max(0, dataset.progressMs), Number(dataset.durationMs)];
  const next = { at, start, end, runs: dataset.state === "playing", title: said.get(part("title")) };
  const same = ["end", "runs", "title"].every((key) => clock?.[key] === next[key]);
  // Answers come a little early or late; only a real seek moves the bar.
  if (!same || !next.runs || Math.abs(played(clock) - played(next)) > 1500) clock = next;
  tick();
}

function tick() {
  clearTimeout(ticker);
  const [bar, elapsed] = part("time").children;
  if (!bar || document.hidden) return;
  const ms = (bar.value = played(clock));
  const [h, m, s] = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1000) % 60].map(Math.floor);
  const two = (n) => String(n).padStart(2, "0");
  elapsed.firstChild.data = h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  elapsed.dateTime = `PT${Math.floor(ms / 1000)}S`;
  if (clock.runs && ms < clock.end) ticker = setTimeout(tick, 1000 - (ms % 1000));
}

// ---- Asking: one request at a time, and none while the tab is hidden
let timer, request, misses = 0;

function askLater() { // a delay beyond 2^31 - 1 would be taken for none
  timer = setTimeout(ask, Math.min(Math.max(player.dataset.pollAfterMs, 500), 2 ** 31 - 1));
}

async function ask() {
  if (document.hidden || request || player.dataset.pollAfterMs === "0") return;
  clearTimeout(timer);
  const mine = (request = new AbortController());
  let fresh, ok, arrived;
  try {
    const signal = AbortSignal.any([mine.signal, AbortSignal.timeout(20_000)]);
    const headers = { Accept: "text/html" };
    const answer = await fetch("/now-playing", { headers, signal, cache: "no-store" });
    arrived = performance.now();
    if (answer.status === 401) return location.replace("/");
    const text = await answer.text();
    fresh = new DOMParser().parseFromString(text, "text/html").getElementById("player");
    if (!(fresh.dataset.pollAfterMs >= 0)) throw new TypeError("not a player");
    [ok, misses] = [answer.ok, 0];
  } catch {
    fresh = document.getElementById("lost").content.firstElementChild.cloneNode(true);
    fresh.dataset.pollAfterMs = Math.min(5_000 * 2 ** misses++, 60_000);
  }
  if (request !== mine) return; // the tab was hidden meanwhile
  request = null;
  player.dataset.pollAfterMs = fresh.dataset.pollAfterMs;
  askLater();
  if (ok || !trackShown) show(fresh, arrived);
  else showTrouble(fresh);
}

document.addEventListener("visibilitychange", () => {
  stayAwake();
  if (!document.hidden) return ask(), tick();
  request = request?.abort(); // and so undefined
});
addEventListener("pageshow", (event) => event.persisted && ask());
addEventListener("online", ask);

// ---- Full screen, with the cursor and the controls gone after three seconds
const page = document.documentElement;
let idle, lock;
const toggle = () =>
  document.fullscreenElement ? document.exitFullscreen() : page.requestFullscreen().catch(() => {});

function stir() {
  clearTimeout(idle);
  page.classList.remove("idle");
  if (document.fullscreenElement) idle = setTimeout(() => page.classList.add("idle"), 3_000);
}

async function stayAwake() {
  lock?.release();
  lock = document.fullscreenElement && (await navigator.wakeLock?.request("screen").catch(() => null));
}

if (document.fullscreenEnabled) {
  Object.assign(document.getElementById("fullscreen"), { hidden: false, onclick: toggle });
  addEventListener("keydown", ({ key, repeat, ctrlKey, altKey, metaKey, target }) => {
    const typing = target.closest?.("input, textarea, select, [contenteditable]");
    if (key === "f" && !(repeat || ctrlKey || altKey || metaKey || typing)) toggle();
  });
  for (const type of ["pointermove", "pointerdown", "keydown", "focusin"]) addEventListener(type, stir);
  document.addEventListener("fullscreenchange", () => (stir(), stayAwake()));
}

// ---- Art that does not load gives way to the glyph behind it
player.addEventListener("error", ({ target }) => target.matches("img") && target.remove(), true);
const art = player.querySelector("img");
art?.decode().catch(() => art.remove());
nameTheHour();
wind(player, performance.now());
askLater();
