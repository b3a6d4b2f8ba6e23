// What the agent writes: to the user, or as a note that only colleagues see.
//
// What is sent is kept first and has one key through every attempt and reload, so it arrives once.
// Of one conversation one message is on its way at a time: the order of writing is the order of the
// log. Drafts are kept too, each with its mode, until they are sent.

const TEXT_LENGTH_MAX = 10000;
const SEND_RETRY_MS = [500, 1500, 4000, 8000];    // and the last one from then on
const RESEND_WITHIN_MS = 24 * 60 * 60 * 1000;     // what is older is sent only when asked to
const TYPING_EVERY_MS = 3000;

function startReply(desk) {
  const { t, byID, call, link, kept } = desk;
  const composer = byID("composer"), form = byID("form");
  const outbox = new Map();         // key → {id, conversation, body, state, reason, attempts, createdAt, order, row}
  const sending = new Set();        // conversations with a message on its way
  let id = null, record = null, mode = "reply", order = 0;
  let typingSentAt = 0, typingStopTimer;

  // ---------------------------------------------------------------- Sending

  function send(text) {
    const item = {
      id: `a-${uniqueID()}`, conversation: id, state: "sending", reason: "", attempts: 0, createdAt: new Date().toISOString(), order: ++order,
      body: { content: { type: "text", text }, visibility: mode === "note" ? "internal" : "public" },
    };
    outbox.set(item.id, item);
    keep(item);
    desk.log.showUnsent(item);
    pump(item.conversation);
  }

  const keep = ({ row, timer, ...item }) => kept.write(`outbox.${item.id}`, item);

  async function pump(conversation) {
    if (sending.has(conversation)) return;
    const item = [...outbox.values()].find((candidate) => candidate.conversation === conversation && candidate.state === "sending");
    if (!item) return;
    sending.add(conversation);
    let waitMs = 0;
    try {
      const { data } = await call("POST", `conversations/${encodeURIComponent(conversation)}/messages`, {
        body: { ...item.body, client_message_id: item.id }, headers: { "Idempotency-Key": item.id },
      });
      settle(item);
      if (conversation === desk.openID) desk.log.entryDidCome(data);
    } catch (fault) {
      item.attempts += 1;
      // The page is left; what is kept is sent after it.
      if (fault.status === 401) waitMs = RESEND_WITHIN_MS;
      else if (fault.retryable || fault.status === 409) {
        waitMs = Math.max(fault.retryAfterMs ?? 0, SEND_RETRY_MS[Math.min(item.attempts, SEND_RETRY_MS.length) - 1]);
      } else if (outbox.has(item.id)) fail(item, fault.message || t("refused"));
    } finally {
      if (waitMs) setTimeout(() => { sending.delete(conversation); pump(conversation); }, waitMs);
      else { sending.delete(conversation); queueMicrotask(() => pump(conversation)); }
    }
  }

  function settle(item) {
    outbox.delete(item.id);
    kept.remove(`outbox.${item.id}`);
    desk.log.hideUnsent(item);
  }

  function fail(item, reason) {
    Object.assign(item, { state: "failed", reason });
    keep(item);
    desk.log.refreshUnsent(item);
    desk.announce(t("notSent", { reason }));
  }

  function retry(item) {
    Object.assign(item, { state: "sending", reason: "", attempts: 0, createdAt: new Date().toISOString() });
    keep(item);
    desk.log.refreshUnsent(item);
    composer.focus({ preventScroll: true });
    pump(item.conversation);
  }

  function discard(item) {
    settle(item);
    composer.focus({ preventScroll: true });
  }

  function restore() {
    const items = kept.names("outbox.").map((name) => kept.read(name))
      .filter((item) => typeof item?.id === "string" && typeof item.conversation === "string" && item.body?.content && Date.parse(item.createdAt) > 0)
      .sort((left, right) => left.order - right.order || Date.parse(left.createdAt) - Date.parse(right.createdAt));
    for (const item of items) {
      Object.assign(item, { attempts: 0, order: ++order });
      if (Date.now() - Date.parse(item.createdAt) > RESEND_WITHIN_MS) Object.assign(item, { state: "failed", reason: t("keptTooLong") });
      outbox.set(item.id, item);
      pump(item.conversation);
    }
  }

  // ---------------------------------------------------------------- The form

  function setMode(name, { focus = true } = {}) {
    if (name === "note" && mode !== "note") reportTyping("stop");
    mode = name;
    form.dataset.mode = mode;
    for (const node of form.querySelectorAll(".mode")) node.setAttribute("aria-pressed", String(node.dataset.mode === mode));
    composer.placeholder = mode === "note" ? t("placeholderNote") : t("placeholder");
    composer.setAttribute("aria-label", composer.placeholder);
    byID("send").firstElementChild.textContent = mode === "note" ? t("saveNote") : t("send");
    saveDraft();
    showHint();
    if (focus) composer.focus({ preventScroll: true });
  }

  function showHint() {
    const left = TEXT_LENGTH_MAX - composer.value.length;
    const hint = left < 500 ? t("left", { n: left }) : mode === "note" ? t("noteHint")
      : !record ? "" : record.status === "closed" ? t("closedHint") : record.handler?.type === "bot" ? t("botHint") : "";
    if (byID("hint").textContent !== hint) byID("hint").textContent = hint;
  }

  function fit() {
    composer.style.height = "auto";
    if (composer.clientWidth) composer.style.height = `${composer.scrollHeight}px`;
    composer.dir = composer.value ? "auto" : document.documentElement.dir;
    byID("send").disabled = composer.value.trim() === "";
    showHint();
  }

  function saveDraft() {
    if (!id) return;
    if (composer.value.trim()) kept.write(`draft.${id}`, { text: composer.value, mode }); else kept.remove(`draft.${id}`);
  }

  function submit() {
    const text = composer.value.trim();
    if (!text || !id) return;
    composer.value = "";
    reportTyping("stop");
    send(text);
    fit();
    saveDraft();
    composer.focus();
  }

  function reportTyping(state) {
    clearTimeout(typingStopTimer);
    if (!id || !link.isReady || mode === "note" && state === "start") return;
    const now = Date.now();
    if (state === "start") {
      typingStopTimer = setTimeout(() => reportTyping("stop"), TYPING_EVERY_MS + 1500);
      if (now - typingSentAt < TYPING_EVERY_MS) return;
      typingSentAt = now;
    } else if (!typingSentAt) return;
    else typingSentAt = 0;
    link.transmit({ type: "typing", conversation_id: id, state });
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  composer.addEventListener("input", () => {
    fit();
    saveDraft();
    reportTyping(composer.value.trim() ? "start" : "stop");
  });
  composer.addEventListener("keydown", (event) => {
    // 229 is Safari's way of saying that the input method still holds this Enter.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  });
  for (const node of form.querySelectorAll(".mode")) node.addEventListener("click", () => setMode(node.dataset.mode));
  window.addEventListener("resize", fit);

  return {
    restore, retry, discard, setMode,
    get unsentCount() { return outbox.size; },
    conversationDidOpen(opened) {
      reportTyping("stop");
      id = opened;
      record = null;
      const draft = id ? kept.read(`draft.${id}`) : null;
      composer.value = draft?.text ?? "";
      setMode(draft?.mode === "note" ? "note" : "reply", { focus: false });
      fit();
      for (const item of outbox.values()) if (item.conversation === id) desk.log.showUnsent(item);
    },
    recordDidChange(fresh) { record = fresh; showHint(); },
    // The echo may come before the answer.
    entryDidCome(entry) {
      const item = outbox.get(entry.client_message_id);
      if (item) settle(item);
    },
    linkDidReturn() { for (const item of outbox.values()) pump(item.conversation); },
    wipe() { for (const name of kept.names("")) kept.remove(name); },
  };
}
