// Takes the page's colours from the cover's pixels. Any two that meet on the page have the
// contrast that WCAG AA asks for, by computation. Without pixels the sheet's own colours stay.

const TEXT = 4.5; // WCAG 1.4.3
const SHAPES = 3; // WCAG 1.4.11

// ---- sRGB bytes, and OKLCH (https://bottosson.github.io/posts/oklab/)
const toLinear = (byte) =>
  byte <= 10 ? byte / 3294.6 : ((byte / 255 + 0.055) / 1.055) ** 2.4;
const toByte = (x) => 255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055);

function toLch(rgb) {
  const [r, g, b] = rgb.map(toLinear);
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  const a = 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s;
  const c = 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s;
  const light = 0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s;
  return { light, chroma: Math.hypot(a, c), hue: Math.atan2(c, a) };
}

function toRgb({ light, chroma, hue }) {
  const [a, c] = [chroma * Math.cos(hue), chroma * Math.sin(hue)];
  const l = (light + 0.3963377774 * a + 0.2158037573 * c) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * c) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * c) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((x) => Math.round(Math.min(255, Math.max(0, toByte(Math.max(0, x))))));
}

function contrast(one, other) {
  const luminance = ([r, g, b]) =>
    0.2126 * toLinear(r) + 0.7152 * toLinear(g) + 0.0722 * toLinear(b);
  const [dark, bright] = [luminance(one), luminance(other)].sort((x, y) => x - y);
  return (bright + 0.05) / (dark + 0.05);
}

// ---- From pixels to colours
// Returns the cover's main colour, and the liveliest that stands out from it and is near the
// wanted lightness.
function mainColours(pixels, wanted) {
  const groups = new Map();
  for (let i = 0; i < pixels.length; i += 4) {
    const rgb = [...pixels.slice(i, i + 3)];
    const key = rgb.map((byte) => byte >> 5).join();
    const group = groups.get(key) || { size: 0, sum: [0, 0, 0] };
    group.size += 1;
    group.sum = group.sum.map((sum, at) => sum + rgb[at]);
    groups.set(key, group);
  }
  const colours = [...groups.values()].map(({ size, sum }) => {
    return { size, ...toLch(sum.map((one) => one / size)) };
  });
  const best = (score) => colours.reduce((a, b) => (score(b) > score(a) ? b : a));
  const main = best(({ size, chroma }) => size * (0.15 + chroma));
  const apart = ({ hue }) => 1 - Math.cos(hue - main.hue); // 0 to 2
  const near = ({ light }) => 1 - Math.abs(light - wanted);
  const lively = best((one) => {
    return Math.sqrt(one.size) * one.chroma * (0.4 + apart(one)) * near(one) ** 2;
  });
  return [main, lively];
}

// Returns the page's colours, each as [r, g, b]. pixels: bytes, four for each (RGBA).
export function palette(pixels, isLight) {
  const [main, lively] = mainColours(pixels, isLight ? 0.5 : 0.8);
  const shade = ([dark, light], chroma, { chroma: most, hue } = main) =>
    ({ light: isLight ? light : dark, chroma: Math.min(chroma, most), hue });
  // Goes towards black or white until the contrast is there.
  const readable = (colour, ...pairs) => {
    const step = isLight ? -0.01 : 0.01;
    const unread = ([back, ratio]) => contrast(toRgb(colour), back) < ratio;
    while (pairs.some(unread)) colour.light += step;
    return toRgb(colour);
  };
  const back = toRgb(shade([0.3, 0.92], isLight ? 0.042 : 0.09));
  const plate = toRgb(shade([0.36, 0.87], isLight ? 0.055 : 0.1));
  const onPage = (ratio) => [[back, ratio], [plate, ratio]];
  const track = readable(shade([0.5, 0.7], 0.08), [back, SHAPES]);
  return {
    back,
    plate,
    track,
    line: readable(shade([0.55, 0.65], 0.06), ...onPage(SHAPES)),
    quiet: readable(shade([0.8, 0.42], 0.04), ...onPage(TEXT)),
    text: readable(shade([0.97, 0.24], 0.02), ...onPage(TEXT)),
    accent: readable(shade([0.8, 0.5], 0.15, lively), ...onPage(TEXT), [track, SHAPES]),
  };
}
