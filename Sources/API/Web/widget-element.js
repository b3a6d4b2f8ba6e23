// `<chat-widget>`: the shell around the chat, and what a page may ask of it.
//
// Attributes: tenant, server, accent, title, greeting, intro, placeholder, offline, suggestions
// (`a|b|c`), texts (JSON), position, language, theme, open, badge-in-title, mode. Methods: show(),
// hide(), toggle(). Events on the element: chat-open, chat-close, chat-unread (detail.count).

const ATTRIBUTES = ["tenant", "server", "accent", "title", "greeting", "intro", "placeholder", "offline",
  "suggestions", "texts", "position", "language", "theme", "open", "badge-in-title", "mode"];
// What a new value of these changes is done in place; for the others the shell is built anew.
const LIVE_ATTRIBUTES = ["accent", "position", "theme", "open", "badge-in-title"];
const SMALL_SCREEN = "(max-width: 480px), (max-height: 420px)";

// A classic script knows itself while it runs; for a module the page's own tag is looked for.
const ownScript = document.currentScript ?? document.querySelector('script[src*="/widget.js"]');
const homeURL = ownScript?.src ? new URL("./", ownScript.src).href : new URL("/", location.href).href;

let sheet = null;

// The size that the reader chose in the browser, not the host page's root: `rem` would be that.
function styleSheet() {
  if (sheet) return sheet;
  const probe = el("span");
  probe.style.setProperty("font-size", "medium");
  document.documentElement.append(probe);
  const size = parseFloat(getComputedStyle(probe).fontSize) || 16;
  probe.remove();
  sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE.replace(/(\d*\.?\d+)rem\b/g, (_, count) => `${+(count * size).toFixed(3)}px`));
  return sheet;
}

function buildShell(t, { isPage, suggestions }) {
  const heading = el(isPage ? "h1" : "h2", { id: "heading", dir: "auto" }, t("title"));
  const close = isPage ? null : el("button", { type: "button", id: "close", class: "round", "aria-label": t("close") }, cross(""));
  const notice = el("div", { id: "notice", role: "status", hidden: "" }, el("span", { dir: "auto" }),
    el("button", { type: "button", class: "link", id: "notice-action" }),
    el("button", { type: "button", class: "link", id: "notice-close", "aria-label": t("dismiss") }, cross("")));
  const form = el("form", { id: "form", "aria-label": t("compose") },
    el("button", { type: "button", id: "attach", class: "round", "aria-label": t("attach") },
      icon("line-art", 24, "M20 11.5l-8.2 8.2a5.2 5.2 0 0 1-7.4-7.4l8.5-8.5a3.5 3.5 0 0 1 5 5l-8.4 8.4a1.7 1.7 0 0 1-2.5-2.5l7.6-7.5")),
    el("label", { class: "hidden-text", for: "composer" }, t("message")),
    el("textarea", { id: "composer", rows: 1, dir: "auto", maxlength: TEXT_LENGTH_MAX, placeholder: t("placeholder"),
      enterkeyhint: "send", autocomplete: "off", "aria-describedby": "left" }),
    el("button", { type: "button", id: "stop", class: "round", "aria-label": t("stopAnswer"), hidden: "" }, t("stop")),
    el("button", { type: "submit", id: "send", class: "round", "aria-label": t("send"), disabled: "" },
      icon("line-art", 24, "M12 19V5M6 11l6-6 6 6")));
  // The visible log is not live: streaming and paging would be read out over and over. New messages
  // are put once, whole, into #announcer, which stays when the panel goes.
  const main = el(isPage ? "main" : "div", { class: "main", "aria-label": isPage ? t("conversation") : null },
    el("div", { id: "log", role: "log", "aria-label": t("messages"), "aria-live": "off", tabindex: 0 },
      el("section", { id: "empty", "aria-labelledby": "welcome", hidden: "" }, bubbleMark("mark"),
        el(isPage ? "h2" : "h3", { id: "welcome", dir: "auto" }, t("greeting")),
        el("p", { dir: "auto" }, t("intro")),
        el("div", { class: "chips", id: "suggestions" }, ...suggestions.map((text) =>
          el("button", { type: "button", class: "chip suggestion", dir: "auto" }, text)))),
      el("div", { class: "column", id: "content" }, el("div", { id: "older", hidden: "" }), el("ol", { id: "entries" }))),
    el("button", { type: "button", id: "newest", hidden: "" }));
  const header = el("header", {}, el("div", { class: "column" }, bubbleMark("mark"),
    el("div", { class: "names" }, heading, el("p", {},
      el("span", { id: "status", role: "status", "data-state": "connecting" }, t("connecting")), el("span", { id: "handler" }))),
    close));
  const footer = el("footer", {}, el("div", { class: "column" }, notice, form,
    el("p", { class: "hint" }, el("span", { class: "keys" }, t("keys")), el("span", { id: "left" }))));
  const panel = isPage
    ? el("div", { id: "panel" }, el("a", { class: "skip", href: "#composer" }, t("skip")), header, main, footer)
    : el("div", { id: "panel", role: "dialog", "aria-labelledby": "heading", tabindex: -1, hidden: "" }, header, main, footer);
  const launcher = isPage ? null : el("button", { type: "button", id: "launcher", "aria-expanded": "false", "aria-controls": "panel" },
    bubbleMark("bubble-mark"), cross("cross"), el("span", { id: "badge", "aria-hidden": "true", hidden: "" }));
  // An empty title keeps the host's from becoming a tooltip over everything.
  return el("div", { class: "frame", title: "", "data-mode": isPage ? "page" : "widget" }, launcher, panel,
    el("div", { id: "announcer", class: "hidden-text", role: "log", "aria-live": "polite", "aria-label": t("newMessages") }));
}

class ChatWidget extends HTMLElement {
  static observedAttributes = ATTRIBUTES;

  #root = this.attachShadow({ mode: "open" });
  #frame = null;
  #chat = null;
  #t = null;
  #unread = 0;
  #ending = null;               // ends the listeners outside of the shadow root
  #isRebuildDue = false;
  #heldOverflow = null;         // the page's own, while a small screen is covered
  #titlePrefix = "";

  connectedCallback() {
    if (!this.#frame) this.#build();
  }

  disconnectedCallback() {
    // A node that is only moved is connected again before this runs.
    queueMicrotask(() => { if (!this.isConnected) this.#end(); });
  }

  attributeChangedCallback(name, before, after) {
    if (!this.#frame || before === after) return;
    if (name === "open") this.#applyOpen();
    else if (LIVE_ATTRIBUTES.includes(name)) { this.#applyLook(); this.#showUnread(); }
    else if (!this.#isRebuildDue) {
      this.#isRebuildDue = true;
      queueMicrotask(() => {
        this.#isRebuildDue = false;
        if (!this.isConnected) return;
        this.#end();
        this.#build();
      });
    }
  }

  get open() { return this.hasAttribute("open"); }
  set open(value) { this.toggleAttribute("open", Boolean(value)); }
  get unread() { return this.#unread; }

  show() { this.#move(true); }
  hide() { this.#move(false); }
  toggle() { this.#move(!this.open); }

  // ---------------------------------------------------------------- Building

  get #isPage() { return this.getAttribute("mode") === "page"; }

  // The page of its own takes from its address what cannot be used to put words in its mouth.
  #setting(name) {
    const asked = this.#isPage && ["tenant", "language", "theme"].includes(name)
      ? new URLSearchParams(location.search).get(name) : null;
    return asked || this.getAttribute(name);
  }

  #serverURL() {
    try {
      const url = new URL(this.getAttribute("server") || homeURL, location.href);
      if (!url.pathname.endsWith("/")) url.pathname += "/";
      return url.href;
    } catch { return homeURL; }
  }

  #texts() {
    const overrides = {};
    try { Object.assign(overrides, JSON.parse(this.getAttribute("texts") || "{}")); } catch {
      console.warn("chat-widget: the attribute texts is not JSON");
    }
    for (const name of ["title", "greeting", "intro", "placeholder", "offline"]) {
      if (this.getAttribute(name)) overrides[name] = this.getAttribute(name);
    }
    return overrides;
  }

  #build() {
    const isPage = this.#isPage;
    const language = pickLanguage(this.#setting("language") ?? "en");
    const t = this.#t = speaker(language, this.#texts());
    const asked = this.getAttribute("suggestions");
    const suggestions = asked === null ? t("suggestions") : asked.split("|").map((text) => text.trim()).filter(Boolean);
    this.#frame = buildShell(t, { isPage, suggestions: Array.isArray(suggestions) ? suggestions : [] });
    this.#frame.lang = language;
    this.#frame.dir = RIGHT_TO_LEFT.has(language) ? "rtl" : "ltr";
    this.#root.adoptedStyleSheets = [styleSheet()];
    this.#root.replaceChildren(this.#frame);
    if (isPage) {
      document.documentElement.lang = language;
      document.documentElement.dir = this.#frame.dir;
    }
    this.#unread = 0;
    this.#ending = new AbortController();
    this.#listen();
    this.#applyLook();
    this.#chat = startChat(this.#root, {
      tenant: this.#setting("tenant") || "demo", server: this.#serverURL(), isPage, direction: this.#frame.dir,
      locale: navigator.languages?.find((name) => pickLanguage(name) === language && name.startsWith(language)) ?? language,
    }, t, (count) => {
      this.#unread = count;
      this.#showUnread();
      this.dispatchEvent(new CustomEvent("chat-unread", { detail: { count } }));
    });
    this.#showUnread();
    if (!isPage && this.open) this.#applyOpen();
  }

  #end() {
    this.#chat?.end();
    this.#ending?.abort();
    this.#frame?.remove();
    this.#holdPage(false);
    this.#chat = this.#frame = null;
    this.#unread = 0;
    this.#showUnread();
  }

  #byID(id) { return this.#root.getElementById(id); }

  #listen() {
    const { signal } = this.#ending;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#applyLook(), { signal });
    window.visualViewport?.addEventListener("resize", () => this.#fitKeyboard(), { signal });
    window.visualViewport?.addEventListener("scroll", () => this.#fitKeyboard(), { signal });
    if (this.#isPage) {
      this.#root.querySelector(".skip").addEventListener("click", (event) => {
        event.preventDefault();
        this.#byID("composer").focus();
      });
      return;
    }
    matchMedia(SMALL_SCREEN).addEventListener("change", () => this.#applyModal(), { signal });
    this.#byID("launcher").addEventListener("click", () => this.toggle());
    this.#byID("close").addEventListener("click", () => this.hide());
    this.#byID("panel").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing && !event.defaultPrevented) {
        event.stopPropagation();
        this.hide();
      } else if (event.key === "Tab" && this.#frame.hasAttribute("data-modal")) this.#keepFocus(event);
    });
  }

  // ---------------------------------------------------------------- Look

  #applyLook() {
    const theme = this.#setting("theme");
    const isDark = theme === "dark" || theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches;
    this.#frame.dataset.scheme = isDark ? "dark" : "light";
    this.#frame.dataset.side = this.getAttribute("position") === "left" ? "left" : "right";
    // Through the object model, which a policy without 'unsafe-inline' allows.
    for (const name of ["--accent", "--on-accent", "--own", "--on-own", "--tint", "--accent-text"]) {
      this.#frame.style.removeProperty(name);
    }
    for (const [name, value] of accentVariables(this.getAttribute("accent"), isDark)) {
      this.#frame.style.setProperty(name, value);
    }
  }

  // A phone's keyboard lies over the page: only the visual viewport knows how much is left.
  #fitKeyboard() {
    if (visualViewport.scale > 1.01) return;
    this.#frame.style.setProperty("--app-height", `${visualViewport.height}px`);
    this.#frame.style.setProperty("--app-top", `${visualViewport.offsetTop}px`);
    if (this.#isPage) window.scrollTo(0, 0);
  }

  #showUnread() {
    const count = this.#unread;
    const badge = this.#frame && this.#byID("badge");
    if (badge) {
      badge.textContent = count > 99 ? "99+" : String(count);
      badge.hidden = count === 0;
      this.#nameLauncher();
    }
    const prefix = count > 0 && this.hasAttribute("badge-in-title") ? `(${count}) ` : "";
    if (prefix === this.#titlePrefix) return;
    const bare = document.title.startsWith(this.#titlePrefix) ? document.title.slice(this.#titlePrefix.length) : document.title;
    document.title = prefix + bare;
    this.#titlePrefix = prefix;
  }

  #nameLauncher() {
    const t = this.#t;
    const words = this.open ? t("close") : t("open");
    this.#byID("launcher").setAttribute("aria-label", this.#unread > 0 ? `${words}, ${t("unread", { n: this.#unread })}` : words);
  }

  // ---------------------------------------------------------------- Opening and closing

  // On a person's or a script's wish, with the focus; the attribute alone moves no focus, so that a
  // chat that is open from the start does not take it from the page.
  #move(isOpen) {
    if (this.#isPage || isOpen === this.open) return;
    const hadFocus = this.#frame !== null && (this.#root.activeElement !== null || this.#frame.hasAttribute("data-modal"));
    this.open = isOpen;
    if (!this.#frame) return;
    if (!isOpen) {
      if (hadFocus) this.#byID("launcher").focus({ preventScroll: true });
      return;
    }
    // A touch screen would show its keyboard at once.
    const target = matchMedia("(pointer: coarse)").matches ? this.#byID("panel") : this.#byID("composer");
    target.focus({ preventScroll: true });
  }

  #applyOpen() {
    if (this.#isPage) return;
    const isOpen = this.open;
    const panel = this.#byID("panel");
    if (panel.hidden !== isOpen) return;
    panel.hidden = !isOpen;
    this.#frame.toggleAttribute("data-open", isOpen);
    this.#byID("launcher").setAttribute("aria-expanded", String(isOpen));
    this.#applyModal();
    if (isOpen) this.#chat.show(); else this.#chat.hide();
    this.#nameLauncher();
    this.dispatchEvent(new CustomEvent(isOpen ? "chat-open" : "chat-close"));
  }

  // Over a small screen the chat is all there is: modal to the eye, the keyboard and the reader.
  #applyModal() {
    const isModal = this.open && matchMedia(SMALL_SCREEN).matches;
    this.#frame.toggleAttribute("data-modal", isModal);
    const panel = this.#byID("panel");
    if (isModal) panel.setAttribute("aria-modal", "true"); else panel.removeAttribute("aria-modal");
    this.#holdPage(isModal);
    if (isModal && window.visualViewport) this.#fitKeyboard();
  }

  #holdPage(isHeld) {
    const { style } = document.documentElement;
    if (isHeld && this.#heldOverflow === null) {
      this.#heldOverflow = style.overflow;
      style.overflow = "hidden";
    } else if (!isHeld && this.#heldOverflow !== null) {
      style.overflow = this.#heldOverflow;
      this.#heldOverflow = null;
    }
  }

  #keepFocus(event) {
    const inside = [...this.#byID("panel").querySelectorAll("button, a[href], textarea, summary, audio, video, [tabindex='0']")]
      .filter((node) => !node.disabled && node.getClientRects().length > 0);
    const first = inside[0], last = inside.at(-1), active = this.#root.activeElement;
    if (event.shiftKey ? active === first || active === this.#byID("panel") : active === last) {
      event.preventDefault();
      (event.shiftKey ? last : first).focus();
    }
  }
}

if (!customElements.get("chat-widget")) customElements.define("chat-widget", ChatWidget);

// `<script src=".../widget.js" data-tenant="demo">` is the whole embedding.
if (document.currentScript?.dataset.tenant !== undefined) {
  const node = document.createElement("chat-widget");
  for (const name of ATTRIBUTES) {
    const value = ownScript.getAttribute(`data-${name}`);
    if (value !== null) node.setAttribute(name, value);
  }
  const place = () => document.body.append(node);
  if (document.body) place(); else document.addEventListener("DOMContentLoaded", place, { once: true });
}
