// Counts the seconds between two answers: from the moment one arrived, never past the end.

const JUMP_MS = 1500; // answers come a little early or late; only a real seek moves the bar

const player = document.getElementById("player");
const time = player.querySelector("[data-part=time]");
let clock, timer;

const position = ({ start, end, runs, since }) =>
  Math.min(end, start + (runs ? performance.now() - since : 0));

// since: when the answer arrived that the player shows now.
export function syncClock(since) {
  const { progressMs, durationMs, state, name } = player.dataset;
  const next = {
    since,
    start: Math.max(0, progressMs),
    end: Number(durationMs),
    runs: state === "playing",
    name,
  };
  const same = clock && ["end", "runs", "name"].every((key) => clock[key] === next[key]);
  if (!same || !next.runs || Math.abs(position(clock) - position(next)) > JUMP_MS) clock = next;
  tick();
}

function tick() {
  clearTimeout(timer);
  const [bar, elapsed] = time.children;
  if (!bar || document.hidden) return;
  const ms = position(clock);
  bar.value = ms;
  elapsed.textContent = hoursAndMinutes(ms);
  elapsed.dateTime = `PT${Math.floor(ms / 1000)}S`;
  if (clock.runs && ms < clock.end) timer = setTimeout(tick, 1000 - (ms % 1000));
}

function hoursAndMinutes(ms) {
  const [h, m, s] = [ms / 3600000, (ms / 60000) % 60, (ms / 1000) % 60].map(Math.floor);
  const two = (number) => String(number).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export function startClock() {
  document.addEventListener("visibilitychange", tick);
  syncClock(performance.now());
}
