// "In about 20 minutes" grows stale on a page that stays open; a time of day does not.

export function timeOfDay(date) {
  return date.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
}

export function sayTimeOfDay(section) {
  for (const element of section.querySelectorAll("[data-wait]")) {
    const then = new Date(Date.now() + 1000 * element.dataset.wait);
    element.textContent = `at ${timeOfDay(then)}`;
  }
}
