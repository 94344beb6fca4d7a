// Full screen: by the button or Shift+F, in a kiosk (--kiosk), or as an installed app. It
// has a sheet of its own, and the screen stays on.

const root = document.documentElement;
const sheet = document.getElementById("fullscreen-sheet");
const sheetMedia = sheet.media;
const fillsTheScreen = matchMedia(sheetMedia); // a kiosk or an installed app
const listeners = [];
let wakeLock;

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
  keepScreenOn();
  for (const listener of listeners) listener();
}

async function keepScreenOn() {
  if (wakeLock) wakeLock.release();
  wakeLock = undefined;
  if (!navigator.wakeLock || !isFullScreen() || document.hidden) return;
  wakeLock = await navigator.wakeLock.request("screen").catch(() => undefined);
}

export function startFullScreen() {
  if (document.fullscreenEnabled) {
    const button = document.getElementById("fullscreen");
    button.hidden = false;
    button.addEventListener("click", toggle);
    addEventListener("keydown", onKey);
  }
  document.addEventListener("fullscreenchange", change);
  fillsTheScreen.addListener(change); // addEventListener came later
  document.addEventListener("visibilitychange", keepScreenOn); // hiding a tab releases it
  keepScreenOn();
}
