// Logging in, and the desk: what the parts share, which screen is shown, the keyboard.
//
// The token lives in this tab's session storage and in no address. Whoever logs out, or whose token
// has expired, gets a new page: nothing of the former session stays in memory.

const TOKEN_KEY = "console.token", REASON_KEY = "console.reason";
const SINGLE_SCREEN = "(max-width: 46rem)", DETAILS_ASIDE = "(min-width: 68rem)";

const settings = new URLSearchParams(location.search);
const language = pickLanguage(settings.get("language") ?? "auto");
const say = speaker(language, {});

// Names come from strangers: inside of a sentence they may turn neither its direction nor its end.
function t(key, values = {}) {
  return say(key, Object.fromEntries(Object.entries(values).map(([name, value]) => {
    if (typeof value !== "string") return [name, value];
    const plain = value.replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");
    return [name, /^[\x20-\x7e]*$/.test(plain) && !RIGHT_TO_LEFT.has(language) ? plain : `\u2068${plain}\u2069`];
  })));
}

const sessionKept = openStorage("", "sessionStorage");
const look = openStorage("console.");
const frame = el("div", { class: "frame", id: "frame" });

function applyTheme() {
  const theme = look.read("theme") ?? settings.get("theme") ?? "auto";
  const isDark = theme === "dark" || theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.scheme = isDark ? "dark" : "light";
  const label = t({ dark: "themeDark", light: "themeLight" }[theme] ?? "themeAuto");
  const node = document.getElementById("theme");
  if (node) { node.setAttribute("aria-label", label); node.title = label; }
}

// ---------------------------------------------------------------- Logging in

function leave(reason) {
  sessionKept.remove(TOKEN_KEY);
  if (reason) sessionKept.write(REASON_KEY, reason);
  location.reload();
}

function showLogin() {
  frame.replaceChildren(buildLogin(t));
  const form = document.getElementById("login"), field = document.getElementById("token"), problem = document.getElementById("login-problem");
  const complain = (words) => {
    problem.replaceChildren(words);
    field.setAttribute("aria-invalid", "true");
    field.focus();
  };
  const reason = sessionKept.read(REASON_KEY);
  sessionKept.remove(REASON_KEY);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const token = field.value.replace(/\s+/g, " ").trim().replace(/^bearer /i, "").replaceAll(" ", "");
    problem.replaceChildren();
    const claims = readToken(token);
    if (!token) return complain(t("tokenMissing"));
    if (!claims) return complain(t("tokenMalformed"));
    if (claims.exp * 1000 <= Date.now()) return complain(t("tokenExpired"));
    if (!claims.roles?.some((role) => role === "agent" || role === "admin")) return complain(t("tokenRole"));
    const enter = document.getElementById("enter");
    enter.disabled = true;
    try {
      await openCalls(token, () => {})("GET", "conversations?limit=1");
      sessionKept.write(TOKEN_KEY, token);
      field.value = "";
      startDesk(token, claims);
    } catch (fault) {
      complain(fault.status === 401 ? t("tokenRefused", { reason: fault.message }) : fault.status === 403 ? t("tokenRole")
        : fault.status === 0 ? t("loginOffline") : t("loginFailed", { reason: fault.message }));
    } finally { enter.disabled = false; }
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  if (reason) complain(reason); else field.focus();
}

// ---------------------------------------------------------------- The desk

function startDesk(token, claims) {
  const owner = `console.${claims.tenant_id}.${claims.sub}.`;
  // What another agent left unsent in this tab is not for this one to see or send.
  const session = openStorage("console.", "sessionStorage");
  for (const name of session.names("")) if (`console.${name}` !== TOKEN_KEY && !`console.${name}`.startsWith(owner)) session.remove(name);
  const kept = openStorage(owner, "sessionStorage");
  const byID = (id) => document.getElementById(id);
  frame.replaceChildren(...buildDesk(t, { me: claims.sub, tenant: claims.tenant_id }));
  applyTheme();

  let deviceID = kept.read("device");
  if (!deviceID) kept.write("device", deviceID = `console-${uniqueID()}`);
  let isLeaving = false;
  const expire = (reason) => {
    if (isLeaving) return;
    isLeaving = true;
    leave(reason);
  };
  const desk = {
    t, byID, kept, me: claims.sub, openID: null, local: openStorage(owner),
    call: openCalls(token, () => expire(t("sessionEnded"))),
    link: openLink(token, deviceID, {
      state: linkDidChange, frame: frameDidCome,
      refused: (code) => expire(code === 4403 ? t("tokenRole") : t("sessionEnded")),
    }),
    announce, notice, clearNotice, showDetails,
    ...makeClock(language),
  };
  desk.content = contentMaker(t, desk.call, token);
  desk.entries = entryReader(desk);
  desk.queue = startQueue(desk);
  desk.log = startLog(desk);
  desk.reply = startReply(desk);
  desk.details = startDetails(desk);

  // ---------------------------------------------------------------- The socket

  let wasOnline = false;
  function linkDidChange(state) {
    const status = byID("status");
    status.dataset.state = state;
    status.textContent = t({ online: "online", connecting: wasOnline ? "reconnecting" : "connecting", offline: "offline" }[state]);
    if (!desk.details) return;
    if (state === "online") {
      if (wasOnline) { desk.log.linkDidReturn(); desk.queue.refreshSoon(); }
      wasOnline = true;
      desk.reply.linkDidReturn();
    } else desk.log.linkDidLeave();
  }

  function frameDidCome(message) {
    const id = message.conversation_id ?? message.message?.conversation_id;
    const isOpen = id && id === desk.openID;
    switch (message.type) {
      case "message":
        if (!id || !(message.message?.seq > 0)) return;
        desk.queue.entryDidCome(id, message.message);
        if (isOpen) desk.log.entryDidCome(message.message);
        break;
      case "typing": {
        const sender = typeof message.sender === "string" ? { type: "user", id: message.sender } : message.sender ?? {};
        if (sender.id === desk.me) return;
        desk.queue.typingDidCome(message, desk.entries.senderName(sender));
        if (isOpen) desk.log.typingDidCome(sender, message.state);
        break;
      }
      case "run": if (isOpen) desk.log.applyRun(message); break;
      case "gap": if (isOpen) desk.log.gapDidCome(message); break;
      case "subscribed": if (isOpen) desk.log.didSubscribe(message); break;
      case "receipt": if (isOpen) desk.log.receiptDidCome(message); break;
      case "presence": desk.log.presenceDidCome(message); break;
      case "error":
        // This server may not know `read` yet; then it is not said again.
        if (String(message.id ?? "").startsWith("r-")) desk.log.readWasRefused();
        break;
      default:
    }
  }

  // ---------------------------------------------------------------- Telling

  // Once a message, whole: the visible log is not live.
  function announce(words) {
    const announcer = byID("announcer");
    announcer.append(el("p", { dir: "auto" }, words));
    while (announcer.childElementCount > 20) announcer.firstChild.remove();
  }

  let noticeAbout = "";
  function notice(words, { about = "", label, action, lines = [] } = {}) {
    noticeAbout = about;
    const box = byID("notice");
    box.hidden = false;
    box.firstElementChild.replaceChildren(...[
      el("p", { dir: "auto" }, words),
      lines.length ? el("ul", {}, ...lines.map((line) => el("li", { dir: "auto" }, line))) : null,
      label ? button("plain small", label, action) : null,
    ].filter(Boolean));
  }

  function clearNotice(about) {
    const box = byID("notice");
    if (box.hidden || about && about !== noticeAbout) return;
    if (box.contains(document.activeElement)) byID("composer").focus();
    box.hidden = true;
    box.firstElementChild.replaceChildren();
  }
  byID("notice-close").addEventListener("click", () => clearNotice());

  // ---------------------------------------------------------------- Screens

  // On a phone the queue, the conversation and its details are three screens; the address says
  // which conversation is open, so that the browser's own way back leads to the queue.
  function showScreen() {
    const hasDetails = byID("frame").hasAttribute("data-details");
    frame.dataset.screen = !desk.openID ? "queue" : hasDetails ? "details" : "conversation";
    const isAside = matchMedia(DETAILS_ASIDE).matches;
    byID("details").inert = !desk.openID || !isAside && !hasDetails;
    byID("toggle-details").setAttribute("aria-expanded", String(hasDetails));
    const isSingle = matchMedia(SINGLE_SCREEN).matches;
    byID("main").inert = isSingle && frame.dataset.screen !== "conversation";
    document.querySelector(".queue").inert = isSingle && frame.dataset.screen !== "queue";
  }

  function showDetails(isShown = !frame.hasAttribute("data-details")) {
    if (matchMedia(DETAILS_ASIDE).matches) {
      byID("label-input")?.focus();
      return;
    }
    frame.toggleAttribute("data-details", isShown);
    showScreen();
    if (isShown) byID("close-details")?.focus(); else byID("toggle-details").focus();
  }

  const idInAddress = () => /^#(conv_[0-9A-Za-z-]{1,64})$/.exec(location.hash)?.[1] ?? null;
  function followAddress() {
    const id = idInAddress();
    if (id === desk.openID) return;
    frame.removeAttribute("data-details");
    clearNotice();
    desk.log.open(id);
    showScreen();
    if (!id) desk.queue.focus();
    // A keyboard goes on in the conversation; on a touch screen it would cover half of it.
    else if (matchMedia("(pointer: coarse)").matches) byID("heading").focus({ preventScroll: true });
    else byID("composer").focus({ preventScroll: true });
  }

  function backToQueue() {
    if (!desk.openID) return desk.queue.focus();
    location.hash = "";
    history.replaceState(null, "", location.pathname + location.search);
    followAddress();
  }

  window.addEventListener("hashchange", followAddress);
  for (const query of [SINGLE_SCREEN, DETAILS_ASIDE]) matchMedia(query).addEventListener("change", showScreen);
  byID("back").addEventListener("click", backToQueue);
  byID("toggle-details").addEventListener("click", () => showDetails());
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    (desk.openID ? byID("composer") : byID("search")).focus();
  });

  // ---------------------------------------------------------------- Keyboard, dialogs, theme

  byID("single-keys").checked = look.read("keys") !== false;
  byID("single-keys").addEventListener("change", ({ target }) => look.write("keys", target.checked));
  byID("help").addEventListener("click", () => byID("help-dialog").showModal());
  byID("theme").addEventListener("click", () => {
    look.write("theme", { auto: "light", light: "dark", dark: "auto" }[look.read("theme") ?? "auto"]);
    applyTheme();
  });
  byID("leave").addEventListener("click", () => {
    if (!desk.reply.unsentCount) return logOut();
    byID("confirm-words").textContent = t("leaveUnsent", { n: desk.reply.unsentCount });
    byID("confirm").returnValue = "";
    byID("confirm").showModal();
  });
  byID("confirm").addEventListener("close", ({ target }) => { if (target.returnValue === "yes") logOut(); });
  function logOut() {
    isLeaving = true;
    desk.link.end();
    desk.reply.wipe();
    history.replaceState(null, "", location.pathname + location.search);
    leave();
  }

  const inOpen = (act) => () => { if (desk.openID && desk.log.record) act(); };
  const keys = {
    j: () => desk.queue.step(1), k: () => desk.queue.step(-1),
    "/": () => { if (matchMedia(SINGLE_SCREEN).matches) backToQueue(); byID("search").focus(); },
    r: inOpen(() => desk.reply.setMode("reply")), n: inOpen(() => desk.reply.setMode("note")),
    t: inOpen(desk.details.takeOver), b: inOpen(desk.details.handBack), c: inOpen(desk.details.toggleClosed),
    l: inOpen(() => { showDetails(true); byID("label-input")?.focus(); }), d: inOpen(() => showDetails()),
    "?": () => byID("help-dialog").showModal(),
  };
  for (let place = 0; place < TABS.length; place += 1) keys[String(place + 1)] = () => desk.queue.selectAt(place);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.altKey || event.metaKey) return;
    if (document.querySelector("dialog[open]")) return;
    const { target } = event;
    if (event.key === "Escape") {
      if (frame.hasAttribute("data-details")) showDetails(false);
      else if (target.matches("#composer")) byID("log").focus();
      else if (target.matches("#search") && target.value) return;    // the browser empties it
      else if (matchMedia(SINGLE_SCREEN).matches) backToQueue();
      else desk.queue.focus();
      return;
    }
    if (target.matches("input, textarea, select") || look.read("keys") === false || event.repeat && !"jk".includes(event.key)) return;
    const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
    if (!act) return;
    event.preventDefault();
    act();
  });
  // A phone's keyboard lies over the page: only the visual viewport knows how much is left.
  window.visualViewport?.addEventListener("resize", () => {
    if (visualViewport.scale < 1.01) frame.style.setProperty("--app-height", `${visualViewport.height}px`);
  });

  const remainingMs = claims.exp * 1000 - Date.now();
  // Timers hold 31 bits; nobody's page is open for 24 days.
  setTimeout(() => expire(t("sessionEnded")), Math.min(Math.max(0, remainingMs), 2 ** 31 - 1));
  showScreen();
  desk.link.connect();
  desk.queue.refreshSoon(0);
  if (idInAddress()) followAddress(); else byID("search").focus({ preventScroll: true });
  desk.reply.restore();
}

// Times in the reader's own way.
function makeClock(locale) {
  const preferred = navigator.languages?.find((name) => name.toLowerCase().startsWith(locale)) ?? locale;
  const clock = new Intl.DateTimeFormat(preferred, { hour: "numeric", minute: "2-digit" });
  const full = new Intl.DateTimeFormat(preferred, { dateStyle: "medium", timeStyle: "short" });
  const isTime = (when) => !Number.isNaN(when.getTime());
  return {
    fullDate: (when) => isTime(when) ? full.format(when) : "",
    timeNode: (when) => isTime(when) ? el("time", { datetime: when.toISOString(), title: full.format(when) }, clock.format(when)) : el("time"),
    age: (count, unit) => new Intl.NumberFormat(preferred, { style: "unit", unit, unitDisplay: "narrow" }).format(count),
    dayLabel(when) {
      if (!isTime(when)) return "";
      const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(when).setHours(0, 0, 0, 0)) / 86400000);
      if (days === 0) return t("today");
      if (days === 1) return t("yesterday");
      const isThisYear = when.getFullYear() === new Date().getFullYear();
      return when.toLocaleDateString(preferred, { weekday: "long", day: "numeric", month: "long", year: isThisYear ? undefined : "numeric" });
    },
  };
}

// ---------------------------------------------------------------- Start

document.documentElement.lang = language;
document.documentElement.dir = RIGHT_TO_LEFT.has(language) ? "rtl" : "ltr";
document.title = t("title");
const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);
document.adoptedStyleSheets = [sheet];
document.body.append(frame);
applyTheme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
const keptToken = sessionKept.read(TOKEN_KEY), keptClaims = keptToken && readToken(String(keptToken));
if (keptClaims && keptClaims.exp * 1000 > Date.now()) startDesk(keptToken, keptClaims);
else {
  if (keptToken) { sessionKept.remove(TOKEN_KEY); sessionKept.write(REASON_KEY, t("sessionEnded")); }
  showLogin();
}
