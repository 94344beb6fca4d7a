// Asks the server what plays: when the last answer said to, one request at a time, and none
// while the tab is hidden. Each answer goes to player.js as an "answer" event on the player.
//
// The modules of this page import nothing, so that each has a versioned URL of its own and
// one that an old browser can't run leaves the others working. They share the player's
// data attributes and two events: "answer" (here to player.js) and "shown" (from there on).

const TIMEOUT_MS = 20_000;
const SHORTEST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 2 ** 31 - 1; // setTimeout takes a longer one for none at all
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 60_000;
const BUSY_IN_SILENCE = 2; // answers that are not worth a word, as the next comes in 3 s

const player = document.getElementById("player");
let timer, request, failures = 0, busy = 0;

function askLater() {
  const wait = Math.max(player.dataset.pollAfterMs, SHORTEST_WAIT_MS);
  timer = setTimeout(ask, Math.min(wait, LONGEST_WAIT_MS));
}

async function ask() {
  if (document.hidden || request || player.dataset.pollAfterMs === "0") return;
  clearTimeout(timer);
  const mine = (request = new AbortController());
  const timeout = setTimeout(() => mine.abort(), TIMEOUT_MS);
  let answer = await fetchPlayer(mine.signal).catch(() => undefined);
  clearTimeout(timeout);
  if (request !== mine) return; // the tab was hidden meanwhile
  request = undefined;
  answer = answer ?? lostServer();
  if (answer.loggedOut) return location.replace("/");
  player.dataset.pollAfterMs = answer.fresh.dataset.pollAfterMs;
  askLater();
  busy = answer.fresh.dataset.state === "busy" ? busy + 1 : 0;
  if (busy && busy <= BUSY_IN_SILENCE) return;
  player.dispatchEvent(new CustomEvent("answer", { detail: answer }));
}

async function fetchPlayer(signal) {
  const headers = { Accept: "text/html" };
  const response = await fetch("/now-playing", { headers, signal, cache: "no-store" });
  const arrived = performance.now();
  if (response.status === 401) return { loggedOut: true };
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.getElementById("player");
  if (!(fresh.dataset.pollAfterMs >= 0)) throw new TypeError("not a player");
  failures = 0;
  return { fresh, arrived, ok: response.ok };
}

function lostServer() {
  const fresh = document.getElementById("lost").content.firstElementChild.cloneNode(true);
  const wait = Math.min(FIRST_RETRY_MS * 2 ** failures, LONGEST_RETRY_MS);
  failures += 1;
  fresh.dataset.pollAfterMs = wait;
  return { fresh, ok: false };
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return ask();
  request?.abort();
  request = undefined;
});
addEventListener("pageshow", (event) => event.persisted && ask());
addEventListener("online", ask);
askLater();
