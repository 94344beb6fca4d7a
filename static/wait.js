// "In about 20 minutes" grows stale on a page that stays open; a time of day does not.

const SOON_SECONDS = 100;
const LONGEST_SECONDS = 21600; // as far as libcurl reads Retry-After; then nobody knows the hour

export function sayTimeOfDay(section) {
  for (const element of section.querySelectorAll("[data-wait]")) {
    const seconds = Number(element.dataset.wait);
    const then = new Date(Date.now() + 1000 * seconds);
    const hour = then.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
    if (seconds >= SOON_SECONDS && seconds < LONGEST_SECONDS) element.textContent = `at ${hour}`;
  }
}
