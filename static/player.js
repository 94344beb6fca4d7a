// Shows an answer: puts in the parts that changed, with the cover's colours. The server
// renders every word and picture.

import { announce } from "./announce.js";
import { syncClock } from "./clock.js";
import { setColours } from "./colours.js";
import { loadPicture, readPixels } from "./cover.js";
import { fit } from "./fit.js";
import { noteState } from "./rest.js";
import { sayTimeOfDay } from "./wait.js";

const LONGEST_PICTURE_WAIT_MS = 1500;

const player = document.getElementById("player");
const parts = [...player.querySelectorAll("[data-part]")];
const part = (name, within = player) => within.querySelector(`[data-part="${name}"]`);
const picture = (section) => part("art", section).querySelector("img");
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

// What the server last sent for each part, so that our own changes do not count as news.
const content = (element) => element ? element.dataset.key || element.innerHTML : "";
const lastSent = new Map(parts.map((element) => [element, content(element)]));
let latest;

// fresh: a section as the server sent it, and when that arrived. ok: it is no trouble.
export async function showAnswer({ fresh, ok, arrived }) {
  latest = fresh = document.importNode(fresh, true);
  sayTimeOfDay(fresh);
  if (!ok && player.classList.contains("track")) return showTrouble(fresh);
  const isNew = content(part("art", fresh)) !== lastSent.get(part("art"));
  const pixels = isNew && (await waitForPicture(fresh));
  if (latest !== fresh) return; // a newer answer came while the picture loaded
  announce(fresh, player);
  crossfade(isNew || fresh.dataset.name !== player.dataset.name, () => {
    if (latest !== fresh) return;
    if (isNew) setColours(pixels);
    show(fresh);
    if (ok) syncClock(arrived);
  });
}

// Gives the new picture's pixels. After 1.5 s the glyph stands in for a picture until it is
// there, and the sheet's colours for its own.
async function waitForPicture(fresh) {
  const image = picture(fresh);
  if (!image) return null;
  image.hidden = true;
  const shown = loadPicture(image).then(() => { image.hidden = false; }, () => {});
  const ready = Promise.all([readPixels(image), shown]);
  const late = new Promise((resolve) => setTimeout(resolve, LONGEST_PICTURE_WAIT_MS));
  const done = await Promise.race([ready, late]);
  if (!done) ready.then(([pixels]) => latest === fresh && setColours(pixels));
  return done ? done[0] : null;
}

// Lets words, picture and colours change together; the sheet says how fast.
function crossfade(isNew, change) {
  const canFade = document.startViewTransition && !stillness.matches && !document.hidden;
  if (!isNew || !canFade) return change();
  const { ready } = document.startViewTransition(change);
  return ready.catch(() => {}); // a newer change makes it skip the rest
}

function show(fresh) {
  const changed = parts.filter((old) => replace(old, part(old.dataset.part, fresh)));
  const { pollAfterMs } = player.dataset; // poll.js has set that
  Object.assign(player.dataset, fresh.dataset, { pollAfterMs });
  for (const name of ["track", "message"]) {
    player.classList.toggle(name, fresh.classList.contains(name));
  }
  document.title = fresh.dataset.tabTitle;
  noteState();
  if (changed.length) fit();
}

// On trouble the last track stays on the screen, with a sentence under it.
function showTrouble(fresh) {
  const line = document.createElement("p");
  line.append(...part("title", fresh).childNodes, " ", ...part("advice", fresh).childNodes);
  replace(part("status"), line);
  player.dataset.state = fresh.dataset.state;
  fit();
}

// Returns whether there was something new.
function replace(old, fresh) {
  if (lastSent.get(old) === content(fresh)) return false;
  lastSent.set(old, content(fresh));
  const stops = () => [...old.querySelectorAll("a")];
  const focused = stops().indexOf(document.activeElement);
  old.textContent = "";
  if (fresh) old.append(...fresh.childNodes);
  if (focused >= 0) (stops()[focused] || player).focus({ preventScroll: true });
  return true;
}

export function startPlayer() {
  // A picture that does not load gives way to the glyph behind it.
  const hide = (image) => { image.hidden = true; };
  player.addEventListener("error", ({ target }) => target.matches("img") && hide(target), true);
  const first = picture(player);
  if (first) loadPicture(first).catch(() => hide(first)); // it may have failed before this ran
  readPixels(first).then((pixels) => latest || setColours(pixels));
  sayTimeOfDay(player);
}
