// Paints the page in the colours of the cover. Without one the sheet's own colours stay.

import { isFullScreen, onFullScreenChange } from "./fullscreen.js";
import { palette } from "./palette.js";

const root = document.documentElement;
const light = matchMedia("(prefers-color-scheme: light) and (display-mode: browser)"); // as in style.css
const bar = Object.assign(document.createElement("meta"), { name: "theme-color" });
let pixels = null;

function paint() {
  root.removeAttribute("style");
  bar.remove();
  if (!pixels) return;
  const colours = palette(pixels, light.matches && !isFullScreen()); // there it is always dark
  for (const [name, rgb] of Object.entries(colours)) {
    root.style.setProperty(`--art-${name}`, `rgb(${rgb})`);
  }
  bar.content = `rgb(${colours.back})`; // what the browser shows around the page
  document.head.prepend(bar); // the first of several counts
}

// pixels: RGBA bytes of the cover, or null.
export function setColours(coverPixels) {
  pixels = coverPixels;
  paint();
}

export function startColours() {
  light.addListener(paint); // addEventListener came later
  onFullScreenChange(paint);
}
