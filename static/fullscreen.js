// Full screen: by the button or Shift+F, in a kiosk (--kiosk), or as an installed app. It
// has a sheet of its own, and the screen stays on.

const root = document.documentElement;
const sheet = document.getElementById("fullscreen-sheet");
const button = document.getElementById("fullscreen");
const sheetMedia = sheet.media;
const fillsTheScreen = matchMedia(sheetMedia); // a kiosk or an installed app
const listeners = [];
let wakeLock = Promise.resolve();

export const isFullScreen = () => Boolean(document.fullscreenElement) || fillsTheScreen.matches;

export function onFullScreenChange(listener) {
  listeners.push(listener);
}

function toggle() {
  if (document.fullscreenElement) document.exitFullscreen();
  else root.requestFullscreen().catch(() => {}); // refused: the page stays as it is
}

function onKey({ key, shiftKey, repeat, ctrlKey, altKey, metaKey }) {
  if (shiftKey && key.toLowerCase() === "f" && !(repeat || ctrlKey || altKey || metaKey)) toggle();
}

// Not every browser counts its own full screen as a display mode.
function change() {
  sheet.media = document.fullscreenElement ? "all" : sheetMedia;
  showButton();
  keepScreenOn();
  for (const listener of listeners) listener();
}

// A kiosk can't be left, so there is nothing to press in one.
function showButton() {
  const isKiosk = matchMedia("(display-mode: fullscreen)").matches && !document.fullscreenElement;
  button.hidden = isKiosk || !document.fullscreenEnabled;
  button.textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
}

async function changeLock(held) {
  if (held) await held.release();
  if (!navigator.wakeLock || !isFullScreen() || document.hidden) return undefined;
  return navigator.wakeLock.request("screen").catch(() => undefined);
}

// One change after another, or a lock could be lost and never released.
function keepScreenOn() {
  wakeLock = wakeLock.then(changeLock);
}

export function startFullScreen() {
  button.addEventListener("click", toggle);
  if (document.fullscreenEnabled) addEventListener("keydown", onKey);
  document.addEventListener("fullscreenchange", change);
  fillsTheScreen.addListener(change); // addEventListener came later
  document.addEventListener("visibilitychange", keepScreenOn); // hiding a tab releases it
  showButton();
  keepScreenOn();
}
