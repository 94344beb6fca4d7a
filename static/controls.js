// In full screen the cursor and everything to press fade after three seconds, and come back
// with a pointer, a touch or a key.

import { onActivity } from "./activity.js";
import { isFullScreen, onFullScreenChange } from "./fullscreen.js";

const IDLE_AFTER_MS = 3000;

const { classList } = document.documentElement;
let timer, wasIdle;

function showControls() {
  clearTimeout(timer);
  classList.remove("idle");
  if (isFullScreen()) timer = setTimeout(() => classList.add("idle"), IDLE_AFTER_MS);
}

// A touch that brings the controls back presses none of them.
function swallow(event) {
  if (!wasIdle) return;
  wasIdle = false;
  event.preventDefault();
  event.stopPropagation();
}

export function startControls() {
  classList.add("fading-controls"); // without this script they stay where they are
  addEventListener("pointerdown", () => { wasIdle = classList.contains("idle"); }, true);
  addEventListener("click", swallow, true);
  onActivity(showControls);
  onFullScreenChange(showControls);
  showControls();
}
