// Shows an answer: puts in the parts that changed, and says what is new. The server renders
// every word and picture.

const LONGEST_PICTURE_WAIT_MS = 1_500;

const player = document.getElementById("player");
const news = document.getElementById("news");
const parts = [...player.querySelectorAll("[data-part]")];
const part = (name, within = player) => within.querySelector(`[data-part="${name}"]`);
const isTrack = ({ dataset }) => dataset.state === "playing" || dataset.state === "paused";

// What the server last sent for each part, so that our own changes do not count as news.
const content = (element) => element?.dataset.key ?? element?.innerHTML ?? "";
const lastSent = new Map(parts.map((element) => [element, content(element)]));
let trackShown = isTrack(player);
let latest;

player.addEventListener("answer", async ({ detail }) => {
  const fresh = (latest = document.importNode(detail.fresh, true));
  if (detail.ok || !trackShown) {
    await picture(fresh);
    if (latest !== fresh) return; // a newer answer came while the picture loaded
    announce(fresh);
    show(fresh);
  } else {
    showTrouble(fresh);
  }
  player.dispatchEvent(new CustomEvent("shown", { detail }));
});

// Resolves when a new picture is decoded; after 1.5 s the glyph stands in until it is.
async function picture(fresh) {
  const old = part("art");
  const image = fresh.querySelector("[data-part=art] img");
  if (!image || content(part("art", fresh)) === lastSent.get(old)) return;
  image.hidden = true;
  const decoded = image.decode().then(() => { image.hidden = false; }, () => {});
  const late = new Promise((resolve) => setTimeout(resolve, LONGEST_PICTURE_WAIT_MS));
  await Promise.race([decoded, late]);
}

function show(fresh) {
  for (const old of parts) replace(old, part(old.dataset.part, fresh));
  for (const { name, value } of [...fresh.attributes]) {
    if (name !== "data-poll-after-ms") player.setAttribute(name, value); // poll.js has set it
  }
  trackShown = isTrack(fresh);
  document.title = fresh.dataset.title;
}

// On trouble the last track stays on the screen, with a sentence under it.
function showTrouble(fresh) {
  const line = document.createElement("p");
  line.append(...part("title", fresh).childNodes, " ", ...part("advice", fresh).childNodes);
  replace(part("status"), line);
  player.dataset.state = fresh.dataset.state;
}

function replace(old, fresh) {
  if (lastSent.get(old) === content(fresh)) return;
  lastSent.set(old, content(fresh));
  const stops = () => [...old.querySelectorAll("a, [tabindex]")];
  const focused = stops().indexOf(document.activeElement);
  old.textContent = "";
  old.append(...(fresh?.childNodes ?? []));
  if (focused >= 0) (stops()[focused] ?? player).focus({ preventScroll: true });
}

// For screen readers: a new track by title and artist, then pause and resume by one word.
// Trouble under a track is not said here, for that line is a live region itself.
function announce(fresh) {
  const label = fresh.dataset.state !== player.dataset.state && part("label", fresh)?.textContent;
  const what = words(fresh) !== words(player) && words(fresh);
  if (label || what) news.textContent = [label, what].filter(Boolean).join(": ");
}

function words(section) {
  if (!section.classList.contains("message")) return section.dataset.title.replace("⏸ ", "");
  return `${part("title", section).textContent} ${part("advice", section).textContent}`;
}

// ---- Art that does not load gives way to the glyph behind it
const hide = (image) => { image.hidden = true; };
player.addEventListener("error", ({ target }) => target.matches("img") && hide(target), true);
const first = part("art").querySelector("img");
first?.decode().catch(() => hide(first)); // its error event may have come before this script
