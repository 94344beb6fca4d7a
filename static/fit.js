// Finds the largest words with which nothing has to scroll. In full screen, where nobody can
// scroll, small ones are cut off after some lines.

import { isFullScreen, onFullScreenChange } from "./fullscreen.js";

const STEP = 0.94; // from one size to the next
const SMALLEST = 0.6; // of the sheet's size, in a window: from here on it scrolls
const SMALLEST_WHOLE = 0.42; // in full screen: smaller ones are cut off
const SMALLEST_CUT = 0.1;
const MOST_LINES = 6; // of a title; one that is cut off has four

const player = document.getElementById("player");
const title = player.querySelector("h1");
const lines = [title, ...player.querySelectorAll(".by, .source")];

function fits(mayScroll) {
  const page = document.documentElement;
  const isTall = page.scrollHeight > page.clientHeight && !mayScroll;
  const isWide = title.scrollWidth > title.clientWidth;
  const lineHeight = parseFloat(getComputedStyle(title).lineHeight);
  return !isTall && !isWide && title.offsetHeight < (MOST_LINES + 0.5) * lineHeight;
}

// Returns whether that worked. mayScroll: only long titles and long words count.
function shrink(full, mayScroll) {
  const { classList, style } = player;
  for (let scale = 1; ; scale *= STEP) {
    const isSmall = scale <= (full ? SMALLEST_WHOLE : SMALLEST);
    style.setProperty("--scale", scale);
    classList.toggle("whole-words", !isSmall);
    classList.toggle("cut", full && isSmall);
    if (fits(mayScroll)) return true;
    if (isSmall && (!full || scale <= SMALLEST_CUT)) return false;
  }
}

export function fit() {
  const full = isFullScreen();
  if (!shrink(full, false) && !full) shrink(full, true);
  const isCut = player.classList.contains("cut");
  for (const line of lines) {
    if (isCut || line.title) line.title = isCut ? line.textContent.trim() : "";
  }
}

export function startFitting() {
  addEventListener("resize", fit);
  onFullScreenChange(fit);
  fit();
}
