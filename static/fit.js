// Finds the largest words with which nothing has to scroll. In full screen, where nobody can
// scroll, words that would be too small are cut off after some lines instead.

import { isFullScreen, onFullScreenChange } from "./fullscreen.js";

const STEP = 0.94; // from one size to the next; 1 is the sheet's
const SMALLEST = 0.42; // from here on a window scrolls, and in full screen words are cut off
const LARGEST_CUT = 0.55;
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

// Returns whether a size fits. mayScroll: only long titles and long words count.
function shrink(largest, smallest, mayScroll = false) {
  for (let scale = largest; scale >= smallest; scale *= STEP) {
    player.style.setProperty("--scale", scale);
    if (fits(mayScroll)) return true;
  }
  return false;
}

export function fit() {
  const { classList } = player;
  const full = isFullScreen();
  classList.remove("cut");
  classList.add("whole-words");
  const isWhole = shrink(1, SMALLEST) || (!full && shrink(1, SMALLEST, true));
  if (!isWhole) classList.remove("whole-words");
  const isCut = full && !isWhole;
  if (isCut) {
    classList.add("cut");
    shrink(LARGEST_CUT, SMALLEST_CUT);
  }
  for (const line of lines) {
    if (isCut || line.title) line.title = isCut ? line.textContent.trim() : "";
  }
}

export function startFitting() {
  addEventListener("resize", fit);
  onFullScreenChange(fit);
  fit();
}
