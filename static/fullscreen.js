// Full screen, by the button or Shift+F: the screen stays on, and after three seconds
// without a touch the cursor and the controls fade.

const IDLE_AFTER_MS = 3_000;
const ACTIVITY = ["pointermove", "pointerdown", "keydown", "focusin"];

const root = document.documentElement;
let idleTimer, wakeLock;

function toggle() {
  if (document.fullscreenElement) document.exitFullscreen();
  else root.requestFullscreen().catch(() => {}); // refused: the page stays as it is
}

function showControls() {
  clearTimeout(idleTimer);
  root.classList.remove("idle");
  if (!document.fullscreenElement) return;
  idleTimer = setTimeout(() => root.classList.add("idle"), IDLE_AFTER_MS);
}

async function keepScreenOn() {
  wakeLock?.release();
  wakeLock = undefined;
  if (!document.fullscreenElement) return;
  wakeLock = await navigator.wakeLock?.request("screen").catch(() => undefined);
}

function onKey({ key, shiftKey, repeat, ctrlKey, altKey, metaKey }) {
  if (shiftKey && key.toLowerCase() === "f" && !(repeat || ctrlKey || altKey || metaKey)) toggle();
}

if (document.fullscreenEnabled) {
  const button = document.getElementById("fullscreen");
  button.hidden = false;
  button.addEventListener("click", toggle);
  addEventListener("keydown", onKey);
  for (const type of ACTIVITY) addEventListener(type, showControls);
  document.addEventListener("fullscreenchange", showControls);
  document.addEventListener("fullscreenchange", keepScreenOn);
  document.addEventListener("visibilitychange", keepScreenOn); // hiding a tab releases it
}
