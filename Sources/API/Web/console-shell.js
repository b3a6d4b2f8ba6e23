// The furniture: what stands on the page before there is anything to show. Each node that changes
// has an id; what changes it is in the other files.

const TABS = ["waiting", "mine", "open", "held", "closed"];
const STATUSES = ["open", "pending", "snoozed", "closed"];
const PRIORITIES = ["low", "normal", "high", "urgent"];
// What each key does, in the order in which the help lists them. A letter alone is pressed outside
// of text fields only, and can be switched off (WCAG 2.2, 2.1.4).
const SHORTCUTS = [
  ["j", "keyNext"], ["k", "keyPrevious"], ["1–5", "keyTabs"], ["/", "keySearch"], ["r", "keyReply"], ["n", "keyNote"],
  ["t", "keyTakeOver"], ["b", "keyHandBack"], ["c", "keyClose"], ["l", "keyLabel"], ["d", "keyDetails"], ["?", "keyHelp"],
];

const lineArt = (...paths) => icon("line-art", 24, ...paths);
const ICONS = {
  back: ["M15 5l-7 7 7 7"], search: ["M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13z", "M15.5 15.5L20 20"],
  details: ["M4 5h16v14H4z", "M14 5v14"], theme: ["M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z", "M12 4a8 8 0 0 1 0 16z"],
  leave: ["M10 5H5v14h5", "M14 8l4 4-4 4", "M18 12H9"], send: ["M4 12l16-7-6 16-3-7z"],
};

const brandMark = () => icon("mark", 32, "M4 5h24v17H15l-7 6v-6H4z", "M10 10h13v2H10zm0 5h8v2h-8z");

function iconButton(id, label, art, attributes = {}) {
  return el("button", { type: "button", id, class: "icon", "aria-label": label, title: label, ...attributes }, art);
}

function buildLogin(t) {
  return el("main", { class: "login", "aria-labelledby": "login-heading" },
    el("form", { id: "login", class: "card", "aria-labelledby": "login-heading", novalidate: "" },
      brandMark(),
      el("h1", { id: "login-heading" }, t("title")),
      el("p", { class: "quiet" }, t("loginIntro")),
      el("div", { id: "login-problem", class: "problem", role: "alert" }),
      el("label", { for: "token" }, t("token")),
      el("textarea", {
        id: "token", rows: 4, autocomplete: "off", autocapitalize: "off", spellcheck: "false", dir: "ltr",
        "aria-describedby": "token-hint", placeholder: "eyJhbGciOi…",
      }),
      el("p", { id: "token-hint", class: "quiet small" }, t("tokenHint")),
      el("button", { type: "submit", id: "enter", class: "primary" }, t("logIn")),
      el("details", { class: "quiet small", "aria-label": t("tokenHow") }, el("summary", {}, t("tokenHow")),
        el("code", { dir: "ltr" }, "chat-service token issue --tenant demo --user kim --role agent"))));
}

function buildDesk(t, { me, tenant }) {
  return [
    el("a", { class: "skip", href: "#main" }, t("skip")),
    el("header", { class: "top" }, brandMark(),
      el("p", { class: "brand" }, el("strong", {}, t("title")), el("span", { class: "tenant" }, el("bdi", {}, tenant))),
      el("p", { id: "status", role: "status", "data-state": "connecting" }, t("connecting")),
      el("p", { class: "me", title: t("loggedInAs", { name: me }) }, el("span", { class: "hidden-text" }, t("loggedInAs", { name: "" })),
        el("bdi", {}, me)),
      iconButton("theme", t("themeAuto"), lineArt(...ICONS.theme)),
      iconButton("help", t("help"), el("span", { "aria-hidden": "true" }, "?"), { "aria-haspopup": "dialog" }),
      iconButton("leave", t("logOut"), lineArt(...ICONS.leave))),
    el("div", { class: "desk" }, buildQueue(t), buildConversation(t),
      el("aside", { id: "details", "aria-label": t("details") })),
    el("div", { id: "announcer", class: "hidden-text", role: "log", "aria-live": "polite", "aria-label": t("news") }),
    buildHelp(t),
    el("dialog", { id: "confirm", "aria-labelledby": "confirm-words" },
      el("form", { method: "dialog", "aria-labelledby": "confirm-words" }, el("p", { id: "confirm-words" }),
        el("div", { class: "actions" }, el("button", { value: "no", class: "plain", autofocus: "" }, t("cancel")),
          el("button", { value: "yes", class: "danger", id: "confirm-yes" }, t("logOut"))))),
  ];
}

function buildQueue(t) {
  const tabs = TABS.map((name) => el("button", {
    type: "button", role: "tab", id: `tab-${name}`, "data-tab": name, "aria-controls": "queue-panel", "aria-selected": "false", tabindex: -1,
  }, t(`tab_${name}`), el("span", { class: "count", hidden: "" })));
  return el("section", { class: "queue", "aria-label": t("queue") },
    el("div", { class: "search", role: "search" }, lineArt(...ICONS.search),
      el("input", { id: "search", type: "search", placeholder: t("search"), "aria-label": t("search"), autocomplete: "off", maxlength: 200 })),
    el("div", { class: "tabs", role: "tablist", "aria-label": t("views") }, ...tabs),
    el("p", { id: "filter", hidden: "" }),
    el("p", { id: "queue-note", role: "status", hidden: "" }),
    el("div", { id: "queue-panel", role: "tabpanel", "aria-labelledby": "tab-waiting", tabindex: -1 },
      el("ul", { id: "queue", role: "list" }),
      el("div", { id: "queue-empty", class: "empty", hidden: "" }),
      el("button", { type: "button", id: "more", class: "plain", hidden: "" }, t("showMore"))));
}

function buildConversation(t) {
  return el("main", { id: "main", tabindex: -1, "aria-label": t("conversation") },
    el("div", { id: "nothing", class: "empty" }, brandMark(), el("h2", {}, t("nothingOpen")), el("p", {}, t("nothingOpenHint"))),
    el("div", { id: "open", hidden: "" },
      el("header", { class: "about" },
        iconButton("back", t("back"), lineArt(...ICONS.back)),
        el("div", { class: "names" }, el("h1", { id: "heading", tabindex: -1 }), el("p", { id: "subheading" })),
        el("div", { class: "actions" },
          el("button", { type: "button", id: "take", class: "primary" }, t("takeOver")),
          el("button", { type: "button", id: "give", class: "plain", hidden: "" }, t("handBack")),
          el("button", { type: "button", id: "close", class: "plain" }, t("close")),
          iconButton("toggle-details", t("details"), lineArt(...ICONS.details), { "aria-expanded": "false", "aria-controls": "details" }))),
      el("div", { class: "stage" },
        el("div", { id: "log", role: "log", "aria-live": "off", "aria-label": t("messages"), tabindex: 0 },
          el("div", { id: "content" },
            el("p", { id: "older", class: "quiet small", role: "status", hidden: "" }),
            el("ol", { id: "entries", role: "list" }),
            el("p", { id: "typing", class: "quiet", hidden: "" }, el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), el("span")))),
        el("button", { type: "button", id: "newest", hidden: "" })),
      el("div", { class: "foot" },
        el("div", { id: "notice", role: "status", hidden: "" }, el("div", { class: "words" }),
          iconButton("notice-close", t("dismiss"), cross(""))),
        buildForm(t))));
}

function buildForm(t) {
  return el("form", { id: "form", "data-mode": "reply", "aria-label": t("answer") },
    el("div", { class: "modes", role: "group", "aria-label": t("whoSees") },
      el("button", { type: "button", class: "mode", "data-mode": "reply", "aria-pressed": "true" }, t("reply")),
      el("button", { type: "button", class: "mode", "data-mode": "note", "aria-pressed": "false" }, t("note")),
      el("p", { id: "hint", class: "quiet small" })),
    el("div", { class: "box" },
      el("textarea", { id: "composer", rows: 1, maxlength: 10000, dir: "auto", enterkeyhint: "send", "aria-describedby": "hint" }),
      el("button", { type: "submit", id: "send", class: "primary", disabled: "" }, el("span", {}, t("send")), lineArt(...ICONS.send))),
    el("p", { class: "keys quiet small", id: "keys" }, t("keys")));
}

function buildHelp(t) {
  return el("dialog", { id: "help-dialog", "aria-labelledby": "help-heading" },
    el("form", { method: "dialog", "aria-labelledby": "help-heading" },
      el("h2", { id: "help-heading" }, t("help")),
      el("label", { class: "switch" }, el("input", { type: "checkbox", id: "single-keys" }), t("singleKeys")),
      el("dl", { class: "keys-list" }, ...SHORTCUTS.map(([key, name]) =>
        el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, t(name)))),
        ...[["Enter", "keySend"], ["Shift + Enter", "keyLine"], ["Esc", "keyEscape"]].map(([key, name]) =>
          el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, t(name))))),
      el("div", { class: "actions" }, el("button", { class: "primary", autofocus: "" }, t("dismiss")))));
}
