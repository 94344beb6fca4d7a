// Reads the pixels of the cover that is shown, and hands them to palette.js as a "cover"
// event on the player; without pixels where there is no cover, or none that can be read.

const SIDE = 24; // pixels; a small picture averages by itself

const player = document.getElementById("player");
let lastUrl;

async function readCover() {
  const url = player.querySelector("[data-part=art] img")?.src;
  if (url === lastUrl) return;
  lastUrl = url;
  const pixels = url && (await readPixels(url).catch(() => undefined));
  if (url === lastUrl) player.dispatchEvent(new CustomEvent("cover", { detail: pixels }));
}

// A picture of another origin can only be read if that allows it, and only when asked for
// so; the one on the page is not, or a refusal would leave the page without it.
async function readPixels(url) {
  const image = new Image();
  image.crossOrigin = "anonymous";
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, SIDE, SIDE);
  return context.getImageData(0, 0, SIDE, SIDE).data;
}

player.addEventListener("shown", readCover);
readCover();
