// Which language, and how its texts are said. TEXTS comes from the file before: the widget's words
// or the console's.

const RIGHT_TO_LEFT = new Set(["ar", "fa", "he", "ur"]);

// The language asked for, by its first part; `auto` is the page's own, then the reader's.
function pickLanguage(asked) {
  const wishes = asked === "auto"
    ? [document.documentElement.lang, ...navigator.languages ?? []] : [asked];
  for (const wish of wishes) {
    const code = String(wish ?? "").toLowerCase().split("-")[0];
    if (Object.hasOwn(TEXTS, code)) return code;
  }
  return "en";
}

function speaker(language, overrides) {
  const plurals = new Intl.PluralRules(language);
  const number = new Intl.NumberFormat(language);
  return (key, values = {}) => {
    let text = overrides[key] ?? TEXTS[language][key] ?? TEXTS.en[key] ?? key;
    if (text !== null && typeof text === "object" && !Array.isArray(text)) {
      text = text[plurals.select(values.n)] ?? text.other;
    }
    if (typeof text !== "string") return text;
    return text.replace(/\{(\w+)\}/g, (_, name) =>
      typeof values[name] === "number" ? number.format(values[name]) : values[name] ?? "");
  };
}
