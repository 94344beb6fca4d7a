// Tells when somebody uses the page: a pointer that moves, a touch or a key.

const TYPES = ["pointermove", "pointerdown", "touchstart", "wheel", "keydown"];

let lastPlace;

// Browsers also send a move when the page changes under a pointer that lies still.
function isStill({ type, clientX, clientY }) {
  if (type !== "pointermove") return false;
  const place = `${clientX} ${clientY}`;
  const still = place === lastPlace;
  lastPlace = place;
  return still;
}

const listeners = [];

function tell(event) {
  if (!isStill(event)) for (const listener of listeners) listener();
}

export function onActivity(listener) {
  if (!listeners.length) for (const type of TYPES) addEventListener(type, tell, { passive: true });
  listeners.push(listener);
}
