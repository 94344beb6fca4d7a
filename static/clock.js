// Counts the seconds between two answers: from the moment one arrived, never past the end.

const JUMP_MS = 1_500; // answers come a little early or late; only a real seek moves the bar
const SOON_SECONDS = 100;

const player = document.getElementById("player");
const time = player.querySelector("[data-part=time]");
let clock, ticker;

const position = ({ start, end, runs, since }) =>
  Math.min(end, start + (runs ? performance.now() - since : 0));

function start(since) {
  const { progressMs, durationMs, state, title } = player.dataset;
  const next = {
    since,
    start: Math.max(0, progressMs),
    end: Number(durationMs),
    runs: state === "playing",
    title: title.replace("⏸ ", ""),
  };
  const same = ["end", "runs", "title"].every((key) => clock?.[key] === next[key]);
  if (!same || !next.runs || Math.abs(position(clock) - position(next)) > JUMP_MS) clock = next;
  tick();
}

function tick() {
  clearTimeout(ticker);
  const [bar, elapsed] = time.children;
  if (!bar || document.hidden) return;
  const ms = position(clock);
  bar.value = ms;
  elapsed.textContent = hoursAndMinutes(ms);
  elapsed.dateTime = `PT${Math.floor(ms / 1000)}S`;
  if (clock.runs && ms < clock.end) ticker = setTimeout(tick, 1000 - (ms % 1000));
}

function hoursAndMinutes(ms) {
  const [h, m, s] = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1000) % 60].map(Math.floor);
  const two = (number) => String(number).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

// "In about 20 minutes" grows stale on a page that stays open; a time of day does not.
function sayTheTimeOfDay() {
  for (const element of player.querySelectorAll("[data-wait]")) {
    const wait = element.dataset.wait;
    const then = new Date(Date.now() + wait * 1000);
    const hour = then.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
    if (wait >= SOON_SECONDS) element.textContent = `at ${hour}`;
    delete element.dataset.wait;
  }
}

player.addEventListener("shown", ({ detail }) => {
  sayTheTimeOfDay();
  if (detail.ok) start(detail.arrived); // else the last track stays, and its clock goes on
});
document.addEventListener("visibilitychange", tick);
sayTheTimeOfDay();
start(performance.now());
