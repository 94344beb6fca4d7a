// Asks the server what plays: when the last answer said to, and at once when somebody looks.
// One request at a time, and none while the tab is hidden.

import { onActivity } from "./activity.js";
import { showAnswer } from "./player.js";

const TIMEOUT_MS = 20000;
const SHORTEST_WAIT_MS = 500;
const FIRST_RETRY_MS = 5000;
const LONGEST_RETRY_MS = 60000;
const FRESH_MS = 5000; // somebody who looks gets nothing newer within this time
const BUSY_IN_SILENCE = 2; // answers that are not shown, as the next comes in 3 s

const player = document.getElementById("player");
let timer, request, failures = 0, busy = 0;
let answeredAt = Date.now(); // performance.now() may stand still while a machine sleeps

function askLater() {
  clearTimeout(timer);
  const wait = answeredAt + Number(player.dataset.pollAfterMs) - Date.now();
  timer = setTimeout(ask, Math.max(wait, SHORTEST_WAIT_MS));
}

// For somebody who looks, the server asks Spotify at once.
function look() {
  const age = Math.abs(Date.now() - answeredAt); // the clock may be set back
  if (age > FRESH_MS) ask({ "Cache-Control": "no-cache" });
}

async function ask(headers) {
  if (document.hidden || request || player.dataset.pollAfterMs === "0") return;
  clearTimeout(timer);
  const mine = (request = new AbortController());
  const timeout = setTimeout(() => mine.abort(), TIMEOUT_MS);
  let answer = await fetchPlayer(headers, mine.signal).catch(() => undefined);
  clearTimeout(timeout);
  if (request !== mine) return; // the tab was hidden meanwhile
  request = undefined;
  answeredAt = Date.now();
  failures = answer ? 0 : failures + 1;
  take(answer || lostServer());
}

function take(answer) {
  const { pollAfterMs, state, user } = answer.fresh.dataset;
  // Somebody else may have logged in, in another tab of this browser.
  if (user && user !== player.dataset.user) return location.reload();
  player.dataset.pollAfterMs = pollAfterMs;
  askLater();
  busy = state === "busy" ? busy + 1 : 0;
  if (!busy || busy > BUSY_IN_SILENCE) showAnswer(answer);
  if (answer.isLoggedOut) forgetPerson();
}

async function fetchPlayer(headers, signal) {
  headers = { Accept: "text/html", ...headers };
  const response = await fetch("/now-playing", { headers, signal, credentials: "same-origin" });
  const arrived = performance.now();
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.getElementById("player");
  if (!(fresh.dataset.pollAfterMs >= 0)) throw new TypeError("not a player");
  const isLoggedOut = response.status === 401; // and the player says why
  return { fresh, arrived, isLoggedOut, ok: response.ok || isLoggedOut };
}

function lostServer() {
  const template = document.getElementById("server-lost");
  const fresh = template.content.firstElementChild.cloneNode(true);
  fresh.dataset.pollAfterMs = Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS);
  return { fresh, ok: false };
}

function forgetPerson() {
  for (const element of document.querySelectorAll("[data-personal]")) element.remove();
  document.getElementById("user-id").textContent = "User ID: None";
}

function onVisibility() {
  if (document.hidden) {
    if (request) request.abort();
    request = undefined;
  } else {
    askLater();
    look();
  }
}

export function startPolling() {
  document.addEventListener("visibilitychange", onVisibility);
  addEventListener("focus", look);
  addEventListener("pageshow", (event) => event.persisted && look());
  addEventListener("online", () => ask());
  onActivity(look);
  askLater();
}
