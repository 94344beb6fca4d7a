// "In about 20 minutes" grows stale on a page that stays open; a time of day does not.

export function sayTimeOfDay(section) {
  for (const element of section.querySelectorAll("[data-wait]")) {
    const then = new Date(Date.now() + 1000 * element.dataset.wait);
    const hour = then.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
    element.textContent = `at ${hour}`;
  }
}
