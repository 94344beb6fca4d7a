// For screen readers: a new track by title and artist, pause and resume by one word.
// Trouble under a track is announced by its own line, which is a live region.

const announcement = document.getElementById("announcement");

const text = (section, name) => section.querySelector(`[data-part=${name}]`).textContent.trim();

function what(section) {
  if (section.classList.contains("track")) return section.dataset.name;
  return `${text(section, "title")} ${text(section, "advice")}`;
}

export function announce(fresh, player) {
  const label = fresh.dataset.state !== player.dataset.state && text(fresh, "label");
  const news = what(fresh) !== what(player) && what(fresh);
  if (label || news) announcement.textContent = [label, news].filter(Boolean).join(": ");
}
