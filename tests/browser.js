// Runs before the scripts of every page under test; the tests call it as `spy`.

const spy = (window.spy = { away: false, heard: [], repaints: 0 });
const all = (selector) => [...document.querySelectorAll(selector)];

// Playwright keeps every tab visible, also one behind another, so this takes the place
// of the browser's word.
Object.defineProperties(document, {
  hidden: { get: () => spy.away },
  visibilityState: { get: () => (spy.away ? "hidden" : "visible") },
});
spy.hide = (away) => {
  spy.away = away;
  document.dispatchEvent(new Event("visibilitychange"));
};

spy.drawn = () => all(".art img, .art svg").some((it) => it.getBoundingClientRect().width > 9);

const watch = (element, see, more = {}) =>
  new MutationObserver(see).observe(element, { childList: true, subtree: true, ...more });

// Notes every change of what a track keeps while it plays.
spy.countRepaints = () => {
  for (const name of ["art", "title", "by", "source", "actions"]) {
    const count = ({ length }) => (spy.repaints += length);
    watch(all(`[data-part=${name}]`)[0], count, { characterData: true, attributes: true });
  }
};

// Notes what a screen reader says.
spy.listen = () => {
  for (const region of all("[role=status], [aria-live]")) {
    watch(region, () => region.textContent && spy.heard.push(region.textContent));
  }
};

// Notes whether the picture can be seen at the moment when the words change, and how often
// that is a fade.
spy.watchTitle = () => {
  const start = document.startViewTransition.bind(document);
  spy.fades = 0;
  document.startViewTransition = (change) => { spy.fades += 1; return start(change); };
  watch(all("h1")[0], () => {
    const [picture] = all(".art img");
    spy.pictureSeen = picture.complete && picture.naturalWidth > 0 && !picture.hidden;
  });
};

// Returns what sticks out to the left or right.
spy.outside = () =>
  all("body, body *")
    .filter((element) => {
      const { left, right, width } = element.getBoundingClientRect();
      return width && (left < -0.5 || right > innerWidth + 0.5);
    })
    .map((element) => element.outerHTML.slice(0, 100))
    .concat(document.scrollingElement.scrollWidth > innerWidth ? "the page" : []);

// Returns what does not fit in full screen: nobody can scroll there.
spy.misfits = () => {
  const { scrollHeight, scrollWidth } = document.documentElement;
  const [art, text] = all("#player .art, #player .text").map((it) => it.getBoundingClientRect());
  const meet = (one, other) => one.right > other.left && one.bottom > other.top && one.top < other.bottom;
  const isLost = (it) => getComputedStyle(it).overflow === "hidden" && !it.title;
  return Object.entries({
    scrolls: scrollHeight > innerHeight || scrollWidth > innerWidth,
    overlaps: meet(art, text),
    outside: Math.min(art.top, text.top) < 10 || text.bottom > innerHeight - 10,
    unreadable: all("h1, .by, .source").some(isLost), // not even with a pointer
    covered: all("header, footer").some((it) => meet(it.getBoundingClientRect(), text)),
  }).filter(([, isSo]) => isSo);
};

// Sends what browsers send when the page changes under a pointer that lies still.
spy.movePointerTo = ([clientX, clientY]) =>
  dispatchEvent(new PointerEvent("pointermove", { clientX, clientY }));

// Keeps the timers that wait.
spy.countTimers = () => {
  const { setTimeout, clearTimeout } = window;
  spy.timers = new Set();
  window.setTimeout = (call, ...rest) => {
    const id = setTimeout(() => { spy.timers.delete(id); call(); }, ...rest);
    spy.timers.add(id);
    return id;
  };
  window.clearTimeout = (id) => { spy.timers.delete(id); clearTimeout(id); };
};

// Returns the words of the element with the focus, and whether that can be seen.
spy.focused = () => {
  const { activeElement } = document;
  const style = getComputedStyle(activeElement.closest("label") ?? activeElement);
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return (seen ? "" : "unseen: ") + activeElement.textContent.trim();
};

spy.violations = async (rules) => {
  const options = { resultTypes: ["violations"], preload: false, ...rules };
  const { violations } = await axe.run(document, options);
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
};

// Returns the contrast of two colours as WCAG 2 defines it, from 1 to 21.
spy.contrast = ([one, other]) => {
  const luminance = (css) => {
    const shares = css.match(/\d+/g).map((byte) => byte / 255);
    const linear = (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = shares.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [dark, bright] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (bright + 0.05) / (dark + 0.05);
};

// Returns for each pair of names the lowest contrast in any palette of any cover.
spy.worstContrasts = async ([url, covers, pairs]) => {
  const { palette } = await import(url);
  const palettes = covers.flatMap((cover) => {
    const pixels = Uint8ClampedArray.from(cover.flatMap((rgb) => [...rgb, 255]));
    return [palette(pixels, false), palette(pixels, true)];
  });
  return pairs.map(([one, other]) => {
    const contrasts = palettes.map((it) => spy.contrast([`${it[one]}`, `${it[other]}`]));
    return Math.min(...contrasts);
  });
};

// Takes away what the browsers of 2018 did not have.
spy.growOld = () => {
  for (const [owner, ...names] of [
    [AbortSignal, "any", "timeout"],
    [Array.prototype, "at", "findLast", "flat", "flatMap", "toSorted", "toSpliced", "with"],
    [Document.prototype, "startViewTransition"],
    [Element.prototype, "checkVisibility", "replaceChildren", "setHTMLUnsafe"],
    [HTMLImageElement.prototype, "decode"],
    [MediaQueryList.prototype, "addEventListener"],
    [Navigator.prototype, "wakeLock"],
    [Object, "fromEntries", "groupBy", "hasOwn"],
    [Promise, "allSettled", "any", "try", "withResolvers"],
    [String.prototype, "at", "matchAll", "replaceAll"],
    [window, "navigation", "scheduler", "structuredClone", "ResizeObserver"],
  ]) for (const name of names) Object.defineProperty(owner, name, { value: undefined });
};
