// In full screen, after ten minutes of nothing or pause, the page goes black and shows the
// time of day. Music, a pointer, a touch or a key ends that.

import { onActivity } from "./activity.js";
import { isFullScreen, onFullScreenChange } from "./fullscreen.js";
import { timeOfDay } from "./wait.js";

const REST_AFTER_MS = 600000;
const MINUTE_MS = 60000;
const STILL = ["nothing", "paused"];
const LIVELY = ["playing", "ad", "unknown", "logged_out"];

const player = document.getElementById("player");
const root = document.documentElement;
const screen = document.createElement("div");
const clock = document.createElement("time");
screen.id = "rest";
screen.setAttribute("aria-hidden", "true");
screen.append(clock);
let isStill = false, restTimer, minuteTimer;

// Trouble neither starts a rest nor ends one: a network that fails at night wakes nobody.
export function noteState() {
  const { state } = player.dataset;
  if (STILL.includes(state) && !isStill) {
    isStill = true;
    restLater();
  } else if (LIVELY.includes(state)) {
    isStill = false;
    wake();
  }
}

function restLater() {
  clearTimeout(restTimer);
  restTimer = setTimeout(rest, REST_AFTER_MS);
}

function rest() {
  if (!isFullScreen()) return;
  root.classList.add("resting");
  document.body.append(screen);
  tick();
}

function wake() {
  clearTimeout(restTimer);
  clearTimeout(minuteTimer);
  root.classList.remove("resting");
  screen.remove();
}

// Moves a little every minute, so that nothing burns in.
function tick() {
  const now = new Date();
  const minutes = Math.floor(now / MINUTE_MS);
  clock.textContent = timeOfDay(now);
  const [x, y] = [9 * Math.sin(minutes / 7), 22 * Math.sin(minutes / 5)];
  clock.style.transform = `translate(${x}vw, ${y}vh)`;
  minuteTimer = setTimeout(tick, MINUTE_MS - (now % MINUTE_MS));
}

function startAgain() {
  wake();
  if (isStill) restLater();
}

export function startRest() {
  onActivity(startAgain);
  onFullScreenChange(startAgain);
  noteState();
}
