// Loads a cover: for the page, and for the pixels that give the page its colours.

const SIDE = 24; // pixels; a small picture averages by itself

// Resolves when the picture can be shown, or can't be.
export async function loadPicture(image) {
  if (image.decode) return image.decode();
  if (image.complete && image.naturalWidth) return undefined;
  return new Promise((resolve, reject) => Object.assign(image, { onload: resolve, onerror: reject }));
}

// Resolves to RGBA bytes, or to null where there is no picture, or none that can be read.
// A picture of another origin can only be read if that allows it, and only when asked for
// so; the one on the page is not, or a refusal would leave the page without it.
export async function readPixels(image) {
  if (!image) return null;
  const readable = new Image();
  readable.crossOrigin = "anonymous";
  readable.src = image.src;
  try {
    await loadPicture(readable);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIDE;
    const context = canvas.getContext("2d");
    context.drawImage(readable, 0, 0, SIDE, SIDE);
    return context.getImageData(0, 0, SIDE, SIDE).data;
  } catch (error) {
    return null;
  }
}
