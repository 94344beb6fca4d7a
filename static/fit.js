// Finds the largest words with which the page needs no scrolling. In full screen, where
// nobody can scroll, the smallest ones are cut off after some lines.

import { isFullScreen, onFullScreenChange } from "./fullscreen.js";

const STEP = 0.94; // from one size to the next
const SMALLEST = 0.6; // of the sheet's size, in a window: from here on it scrolls
const SMALLEST_WHOLE = 0.42; // in full screen: smaller ones are cut off
const SMALLEST_CUT = 0.1;
const MOST_LINES = 6; // of a title; one that is cut off has four

const player = document.getElementById("player");
const title = player.querySelector("h1");
const lines = [title, ...player.querySelectorAll(".by, .source")];

function fits() {
  const page = document.documentElement;
  const isTall = page.scrollHeight > page.clientHeight;
  const isWide = title.scrollWidth > title.clientWidth;
  const lineHeight = parseFloat(getComputedStyle(title).lineHeight);
  return !isTall && !isWide && title.offsetHeight < (MOST_LINES + 0.5) * lineHeight;
}

export function fit() {
  const full = isFullScreen();
  const { classList, style } = player;
  let scale = 1;
  for (;;) {
    const isSmall = scale <= (full ? SMALLEST_WHOLE : SMALLEST);
    style.setProperty("--scale", scale);
    classList.toggle("whole-words", !isSmall);
    classList.toggle("cut", full && isSmall);
    if (fits() || (isSmall && (!full || scale <= SMALLEST_CUT))) break;
    scale *= STEP;
  }
  for (const line of lines) line.title = classList.contains("cut") ? line.textContent.trim() : "";
}

export function startFitting() {
  addEventListener("resize", fit);
  onFullScreenChange(fit);
  fit();
}
