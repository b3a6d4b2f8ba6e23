// What needs no state: nodes, links, colours. Nodes are made one by one and never from markup, so
// that nothing a message holds can run, and a host page that demands Trusted Types has no complaint.

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function button(classes, label, press) {
  const node = el("button", { type: "button", class: classes, dir: "auto" }, label);
  node.addEventListener("click", press);
  return node;
}

function icon(classes, side, ...paths) {
  const made = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const node = made("svg", { viewBox: `0 0 ${side} ${side}`, class: classes, "aria-hidden": "true", focusable: "false" });
  node.append(...paths.map((d) => made("path", { d })));
  return node;
}

const bubbleMark = (classes) => icon(classes, 32,
  "M16 3c7.7 0 13 5 13 11.6S23.7 26 16 26c-1.6 0-3.1-.2-4.5-.6L5 29l1-6.4c-2-2.1-3-4.9-3-8C3 8 8.3 3 16 3z",
  "M10 12h12v2H10zm0 4h8v2h-8z");
const cross = (classes) => icon(`${classes} line-art`, 24, "M6 6l12 12M18 6L6 18");

// randomUUID exists only on https and localhost; a LAN address has getRandomValues.
function uniqueID() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)),
    (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Storage may be forbidden (private windows, embedded frames): then it lasts as long as the page.
function openStorage(prefix, area = "localStorage") {
  const memory = new Map();
  return {
    prefix,
    read(name) {
      try { return JSON.parse(window[area].getItem(prefix + name)) ?? memory.get(name); } catch { return memory.get(name); }
    },
    write(name, value) {
      memory.set(name, value);
      try { window[area].setItem(prefix + name, JSON.stringify(value)); } catch { /* above */ }
    },
    remove(name) {
      memory.delete(name);
      try { window[area].removeItem(prefix + name); } catch { /* above */ }
    },
    names(start) {
      const found = [...memory.keys()];
      try {
        for (const key of Object.keys(window[area])) if (key.startsWith(prefix)) found.push(key.slice(prefix.length));
      } catch { /* above */ }
      return [...new Set(found)].filter((name) => name.startsWith(start));
    },
  };
}

// ---------------------------------------------------------------- Links

// Only http and https ever become a link or a source.
function safeURL(text) {
  try {
    const url = new URL(text, location.href);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch { return null; }
}

function outerLink(url, attributes, ...children) {
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer", ...attributes }, ...children);
}

function linkedText(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(/\b(?:https?:\/\/|www\.)[^\s<>"'`]+/gi)) {
    let found = match[0].replace(/[.,!?;:…]+$/, "");
    // A closing bracket belongs to the address only if it was opened inside it.
    while (/[)\]]$/.test(found) && !/[([]/.test(found)) found = found.slice(0, -1);
    const url = safeURL(/^www\./i.test(found) ? `https://${found}` : found);
    if (!url) continue;
    parts.push(text.slice(from, match.index), outerLink(url, {}, found));
    from = match.index + found.length;
  }
  parts.push(text.slice(from));
  return parts;
}

function textNode(text, classes = "text") {
  return el("div", { class: classes, dir: "auto" }, ...linkedText(String(text ?? "")));
}

function bubbleClass(content) {
  if (content.type === "carousel") return "bare";
  if (content.type === "image" || content.type === "video") return "media";
  if (content.type === "removed") return "removed";
  const emoji = /^(?:[\p{Extended_Pictographic}\p{Regional_Indicator}\p{Emoji_Modifier}\u200d\ufe0f]\s*){1,9}$/u;
  return content.type === "text" && emoji.test(content.text ?? "") ? "jumbo" : "";
}

function attachment(icon, title, detail) {
  return outerLink(null, { class: "attachment" }, `${icon} `, el("strong", { dir: "auto" }, String(title)),
    el("small", { dir: "auto" }, String(detail)));
}

function sizeLabel(bytes) {
  if (!(bytes >= 0)) return "";
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function plainText(content = {}, choicesLabel) {
  const options = content.replies ?? content.buttons ?? [];
  const text = content.text ?? content.title ?? content.caption ?? content.name ?? content.filename
    ?? content.cards?.map((card) => card.title).join(", ") ?? content.type ?? "";
  return options.length ? `${text} ${choicesLabel}: ${options.map((option) => option.title).join(", ")}` : text;
}

// ---------------------------------------------------------------- Colours (WCAG 2.2, 1.4.3)

function luminance(color) {
  const [red, green, blue] = color.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one, other) {
  const [darker, lighter] = [luminance(one), luminance(other)].sort((left, right) => left - right);
  return (lighter + 0.05) / (darker + 0.05);
}

const mixed = (color, other, share) => color.map((part, index) => Math.round(part + (other[index] - part) * share));
const css = (color) => `rgb(${color.join(" ")})`;
const WHITE = [255, 255, 255], BLACK = [0, 0, 0];

// Moves a colour towards an end until it reads on all the backgrounds: a light yellow stays the
// brand's on the launcher, and becomes a dark ochre where it is text.
function readable(color, backgrounds, end) {
  for (let share = 0; share < 1; share += 0.04) {
    const candidate = mixed(color, end, share);
    if (backgrounds.every((background) => contrast(candidate, background) >= 4.6)) return candidate;
  }
  return end;
}

// The variables that a page's own accent changes; an empty list when it is no colour.
function accentVariables(accent, isDark) {
  if (!accent || !CSS.supports("color", accent)) return [];
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.fillStyle = accent;      // reads back as #rrggbb, whatever the way it was written
  const hex = /^#(..)(..)(..)$/.exec(canvas.fillStyle);
  if (!hex) return [];
  const color = hex.slice(1).map((part) => parseInt(part, 16));
  const ink = (background) => contrast(WHITE, background) >= 4.5 ? WHITE
    : contrast(BLACK, background) >= 4.5 ? BLACK : WHITE;
  const surfaces = isDark ? [[31, 36, 35], [19, 22, 21]] : [WHITE, [236, 233, 224]];
  const tint = mixed(surfaces[0], color, isDark ? 0.16 : 0.1);
  return [
    ["--accent", css(color)], ["--on-accent", css(ink(color))], ["--own", css(color)], ["--on-own", css(ink(color))],
    ["--tint", css(tint)], ["--accent-text", css(readable(color, [...surfaces, tint], isDark ? WHITE : BLACK))],
  ];
}
