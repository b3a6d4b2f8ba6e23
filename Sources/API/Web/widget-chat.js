// One guest, one conversation, one socket.
//
// The server's log is the truth: `rows` mirrors it, ordered and deduplicated by seq. `resumeSeq`
// is the seq up to which nothing is missing; it is what `subscribe` sends, so a reconnect resumes
// exactly there. What the user writes is shown at once as a row without a seq, keeps one client
// id through every retry and reload, and becomes a log row when its ack or its echo comes,
// whichever is first.

const CHANNEL = "web";
const SUBPROTOCOL = "chat.v2+json";
const PAGE_LIMIT = 40;
const FILL_PAGE_LIMIT = 200;
const FILL_ENTRIES_MAX = 1000;      // a longer absence starts again at the newest page
const TEXT_LENGTH_MAX = 10000;
const REQUEST_TIMEOUT_MS = 15000;
const CONNECT_TIMEOUT_MS = 10000;
const ACK_TIMEOUT_MS = 12000;
const SEND_ATTEMPTS_MAX = 4;
const PONG_TIMEOUT_MS = 8000;
const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 30000;
const TYPING_EVERY_MS = 3000;
const TYPING_SHOWN_MS = 7000;
const GROUP_WITHIN_MS = 5 * 60 * 1000;
const RESEND_WITHIN_MS = 24 * 60 * 60 * 1000;   // an older message is sent only when asked to
// Rows that have no seq yet sort below the log: what we sent, then answers that stream, then dots.
const PENDING_KEY = 1e12, RUN_KEY = 2e12, TYPING_KEY = 3e12;

class Fault extends Error {
  constructor(status, problem, words, retryAfterMs) {
    super(problem.detail || problem.title || words);
    Object.assign(this, { status, retryAfterMs });
    this.retryable = problem.retryable ?? (status === 429 || status >= 500);
  }
}

// Brings the shell in `root` to life. `settings` has {tenant, server, locale, direction, isPage}; `t` says the
// words; `onUnread` hears how many messages nobody has looked at.
function startChat(root, settings, t, onUnread) {
const byID = (id) => root.getElementById(id);
const log = byID("log"), entries = byID("entries"), composer = byID("composer");
const ending = new AbortController();
const { signal } = ending;
const isHome = new URL(settings.server).origin === location.origin;
const storage = openStorage(`chat.${isHome ? "" : `${new URL(settings.server).host}.`}${settings.tenant}.`);

// ---------------------------------------------------------------- Identity and HTTP

let identity = storage.read("identity");          // {token, user_id, expires_at}
let deviceID = storage.read("device");
if (!deviceID) storage.write("device", deviceID = `web-${uniqueID()}`);
let renewal = null;

async function request(method, path, { body, anonymous = false, renewed = false } = {}) {
  const headers = { Accept: "application/json" };
  if (!anonymous) headers.Authorization = `Bearer ${identity.token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(new URL(path, settings.server), {
    method, headers, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer",
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  if (response.ok) return response.json().catch(() => ({}));
  if (response.status === 401 && !anonymous && !renewed) {
    await renewIdentity();
    return request(method, path, { body, renewed: true });
  }
  const problem = await response.json().catch(() => ({}));
  const seconds = Number(response.headers.get("Retry-After"));
  throw new Fault(response.status, problem, t("unexpected"), seconds > 0 ? seconds * 1000 : undefined);
}

async function ensureIdentity() {
  const remainingMs = identity?.token ? Date.parse(identity.expires_at) - Date.now() : 0;
  if (remainingMs < 30000) await renewIdentity();   // an unreadable date is left to the server
}

function renewIdentity() {
  renewal ??= requestGuest().finally(() => { renewal = null; });
  return renewal;
}

async function requestGuest() {
  const knownUser = identity?.user_id;
  // The last token, even one that has expired, proves that the user id is ours.
  const ask = (body) => request("POST", "api/v2/auth/guest", { body, anonymous: !identity?.token, renewed: true });
  let answer;
  try {
    answer = await ask({ tenant_id: settings.tenant, user_id: knownUser });
  } catch (fault) {
    // The service may refuse to name a guest again; then we are a new one.
    if (!knownUser || ![401, 403, 404, 409, 422].includes(fault.status)) throw fault;
    answer = await ask({ tenant_id: settings.tenant });
  }
  if (knownUser && answer.user_id !== knownUser) forgetConversation();
  identity = { token: answer.token, user_id: answer.user_id, expires_at: answer.expires_at };
  storage.write("identity", identity);
}

// ---------------------------------------------------------------- Connection

let socket = null;
let generation = 0;             // counts connection attempts; what carries an older one is stale
let isReady = false;            // connected and, where there is a conversation, subscribed
let isStopped = false;          // waits for the user: replaced elsewhere, or forbidden
let isStarted = false;          // a visitor who never opens the chat costs the service nothing
let failures = 0, refusals = 0;
let retryTimer, connectTimer, heartbeatTimer, stableTimer;
let heartbeatMs = 25000;

async function connect() {
  dropSocket();
  const mine = ++generation;
  isStarted = true;
  if (failures < 3 && navigator.onLine !== false) setStatus("connecting");
  try {
    await ensureIdentity();
    if (!conversationID) await findConversation(mine);
    if (conversationID && !isHistoryLoaded) await loadNewest(mine);
    if (mine === generation) openSocket(mine);
  } catch (fault) {
    if (mine !== generation) return;
    revealEmptyState();
    if (fault.status === 429) noticeRateLimit(fault.retryAfterMs ?? 10000);
    else if (fault.status && !fault.retryable) return stopConnecting(fault.message);
    reconnect(fault.retryAfterMs);
  }
}

function openSocket(mine) {
  const url = new URL("api/v2/chat/ws", settings.server);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const opened = socket = new WebSocket(url, SUBPROTOCOL);
  opened.onopen = () =>
    transmit({ type: "connect", token: identity.token, device_id: deviceID });
  opened.onmessage = (event) => {
    if (mine !== generation) return;
    armHeartbeat();
    let frame;
    try { frame = JSON.parse(event.data); } catch { return; }
    frameHandlers[frame.type]?.(frame);
  };
  opened.onclose = (event) => { if (mine === generation) socketDidClose(event); };
  connectTimer = setTimeout(() => { dropSocket(); reconnect(); }, CONNECT_TIMEOUT_MS);
}

function transmit(frame) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(frame));
  return true;
}

function dropSocket() {
  for (const timer of [retryTimer, connectTimer, heartbeatTimer, stableTimer]) clearTimeout(timer);
  isReady = false;
  generation += 1;
  const dropped = socket;
  socket = null;
  if (dropped) dropped.close();
  for (const pending of outbox.values()) clearTimeout(pending.timer);
  hideTyping();
  refreshStop();
}

function reconnect(delayMs) {
  clearTimeout(retryTimer);
  const ceilingMs = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** failures);
  if (delayMs === undefined) failures += 1;   // a wait that the server asked for is no failure
  const waitMs = delayMs ?? ceilingMs * (0.5 + Math.random() / 2);
  const isUnplugged = navigator.onLine === false;
  if (isUnplugged || failures > 2) {
    setStatus("offline", isUnplugged ? t("noNetwork") : t("retrying"));
    notice(t("offline"), { label: t("tryNow"), action: connectNow, about: "connection" });
  } else setStatus("connecting");
  refreshOutbox();
  retryTimer = setTimeout(connect, waitMs);
}

function connectNow() {
  isStopped = false;
  failures = 0;
  clearNotice();
  connect();
}

function stopConnecting(words, label = t("tryAgain")) {
  dropSocket();
  isStopped = true;
  setStatus("offline", t("stopped"));
  notice(words, { label, action: connectNow, about: "connection" });
  refreshOutbox();
}

function socketDidClose({ code, reason }) {
  dropSocket();
  let details = {};
  try { details = JSON.parse(reason) ?? {}; } catch { /* Not every reason is JSON. */ }
  const hintMs = details.retry_after_ms >= 0 ? Number(details.retry_after_ms) : undefined;
  switch (code) {
    case 4401:
      // The user's name is kept, so that the new token finds the old conversation.
      if (identity) identity.token = null;
      refusals += 1;
      return reconnect(refusals === 1 ? 0 : undefined);
    case 4403: return stopConnecting(details.detail || t("forbidden"));
    case 4409: return stopConnecting(t("replaced"), t("useHere"));
    case 4408: return reconnect();
    case 4429: {
      const waitMs = hintMs ?? 10000 + Math.random() * 5000;
      noticeRateLimit(waitMs);
      return reconnect(waitMs);
    }
    case 1003: case 1007: case 1008: case 1009:
      // The server would close on the same frame again: do not resend what it choked on.
      for (const pending of outbox.values()) {
        if (pending.attempts) failPending(pending, t("refused"));
      }
      return reconnect();
    default: return reconnect(hintMs);   // 1001 names its own time, spread over all clients
  }
}

// Silence for one heartbeat asks; no answer to that means that the line is dead.
function armHeartbeat() {
  clearTimeout(heartbeatTimer);
  heartbeatTimer = setTimeout(probe, heartbeatMs);
}

function probe(timeoutMs = PONG_TIMEOUT_MS) {
  clearTimeout(heartbeatTimer);
  if (!transmit({ type: "ping" })) return;
  heartbeatTimer = setTimeout(() => { dropSocket(); reconnect(0); }, timeoutMs);
}

const frameHandlers = {
  connected(frame) {
    clearTimeout(connectTimer);
    if (frame.heartbeat_ms > 0) heartbeatMs = frame.heartbeat_ms;
    armHeartbeat();
    refusals = 0;
    // A server that accepts and closes at once must still see the backoff grow.
    stableTimer = setTimeout(() => { failures = 0; }, 3000);
    setStatus("online");
    clearNotice("connection");
    if (!conversationID) return becomeReady();
    transmit({ type: "subscribe", id: `s-${generation}`, conversation_id: conversationID, after_seq: resumeSeq });
  },
  subscribed(frame) {
    if (frame.conversation_id !== conversationID) return;
    seqDidAppear(frame.last_seq);
    becomeReady();
    reportedSeq = 0;                    // what was on its way may be lost
    reportRead();
  },
  gap(frame) {
    if (frame.conversation_id && frame.conversation_id !== conversationID) return;
    if (frame.to - frame.from >= FILL_ENTRIES_MAX) return restartHistory();
    seqDidAppear(frame.to);
    fillHoles();
  },
  message(frame) {
    const entry = frame.message;
    if (!entry || !belongs(entry.conversation_id ?? frame.conversation_id, entry.client_message_id, entry.channel)) return;
    applyEntry(entry, { isLive: true });
  },
  ack(frame) {
    const pending = outbox.get(frame.id);
    if (!pending || !belongs(frame.conversation_id, frame.id)) return;
    settlePending(pending, {
      id: frame.message_id, seq: frame.seq, conversation_id: frame.conversation_id, kind: "message",
      direction: "inbound", sender: { type: "user", id: identity.user_id }, content: pending.content,
      client_message_id: pending.id, created_at: pending.createdAt,
    });
    seqDidAppear(frame.seq);
    clearNotice("rate");
  },
  run: applyRun,
  typing(frame) {
    if (!belongs(frame.conversation_id)) return;
    const sender = typeof frame.sender === "string" ? { id: frame.sender, type: "agent" } : frame.sender ?? {};
    if (sender.id === identity.user_id || sender.type === "user") return;
    if (frame.state === "start") showTyping(sender); else hideTyping();
  },
  receipt(frame) {
    if (frame.conversation_id !== conversationID) return;
    if (frame.user_id === identity.user_id) {     // read here, or on another device
      reportedSeq = Math.max(reportedSeq, frame.read_seq || 0);
      seenSeq = Math.max(seenSeq, frame.read_seq || 0);
      return refreshUnread();
    }
    receipts.delivered = Math.max(receipts.delivered, frame.delivered_seq || 0);
    receipts.read = Math.max(receipts.read, frame.read_seq || 0);
    refreshLog();
  },
  pong(frame) { if (frame.last_seq) seqDidAppear(frame.last_seq); },
  error: applyError,
};

function applyError({ id, problem = {} }) {
  const fault = new Fault(problem.status, problem, t("unexpected"));
  const waitMs = problem.retry_after_ms ?? (problem.retry_after > 0 ? problem.retry_after * 1000 : 5000);
  if (problem.code === "rate_limited") noticeRateLimit(waitMs);
  if (id === `s-${generation}`) {       // the conversation is gone: look for it anew
    dropSocket();
    forgetConversation();
    return reconnect();
  }
  const pending = outbox.get(id);
  if (!pending) {
    if (problem.code !== "rate_limited" && problem.code !== "unauthenticated") notice(fault.message);
    return;
  }
  clearTimeout(pending.timer);
  if (fault.retryable && pending.attempts < SEND_ATTEMPTS_MAX) {
    pending.timer = setTimeout(() => transmitPending(pending), waitMs);
  } else failPending(pending, fault.message);
}

function becomeReady() {
  isReady = true;
  revealEmptyState();
  for (const pending of outbox.values()) {
    if (pending.state === "sending") transmitPending(pending);
  }
  // A run that went on while we were away shows itself now, or is over.
  const mine = generation;
  setTimeout(() => { if (mine === generation) dropStaleRuns(); }, 1500);
}

// A frame is ours when it names our conversation. The first one that we start, here or on another
// device, is adopted; an ack that names another one means that ours was closed meanwhile.
function belongs(id, clientMessageID, channel) {
  if (!id || id === conversationID) return true;
  const isFirst = !conversationID && (channel ? channel === CHANNEL : outbox.size > 0);
  if (isFirst || outbox.has(clientMessageID)) adoptConversation(id);
  return id === conversationID;
}

// ---------------------------------------------------------------- Conversation and history

let conversationID = null;
let resumeSeq = 0;
let aheadSeqs = new Set();       // seen beyond a hole
let isHistoryLoaded = false, hasOlder = false, isLoadingOlder = false;
let fillTimer = null, isFilling = false;
let receipts = { delivered: 0, read: 0 };

const conversationPath = (query) =>
  `api/v2/chat/conversations/${encodeURIComponent(conversationID)}?${new URLSearchParams(query)}`;

async function findConversation(mine) {
  const query = { user_id: identity.user_id, status: "open", channel: CHANNEL, limit: 1 };
  const answer = await request("GET", `api/v2/chat/conversations?${new URLSearchParams(query)}`);
  if (mine !== generation) return;
  const found = answer.data?.[0];
  if (!found) return;
  conversationID = found.id;
  showHandler(found.handler);
}

async function loadNewest(mine) {
  const answer = await request("GET", conversationPath({ order: "desc", limit: PAGE_LIMIT }));
  if (mine !== generation) return;
  if (answer.conversation) showHandler(answer.conversation.handler);
  isHistoryLoaded = true;
  hasOlder = Boolean(answer.page?.has_more) && answer.data.length > 0;
  recallSeen(Math.max(0, ...answer.data.map((entry) => entry.seq)));
  for (const entry of answer.data) {
    applyEntry(entry);
    resumeSeq = Math.max(resumeSeq, entry.seq);   // a page is complete; a hole in it is not ours to see
  }
  refreshLog();
  scrollToNewest();
  showOlder();
  fillViewport();
}

async function loadOlder() {
  if (!hasOlder || isLoadingOlder || !conversationID) return;
  isLoadingOlder = true;
  showOlder(t("loadingOlder"));
  const asked = conversationID;
  try {
    const oldestSeq = Math.min(...seenSeqs);
    const answer = await request("GET", conversationPath({ order: "desc", before_seq: oldestSeq, limit: PAGE_LIMIT }));
    if (asked !== conversationID) return;
    hasOlder = Boolean(answer.page?.has_more) && answer.data.length > 0;
    holdScroll(() => { for (const entry of answer.data) applyEntry(entry); refreshLog(); showOlder(); });
    isLoadingOlder = false;
    fillViewport();
  } catch {
    showOlder(t("olderFailed"), loadOlder);
  } finally { isLoadingOlder = false; }
}

function fillViewport() {
  if (hasOlder && isShown && log.scrollHeight <= log.clientHeight + 100) loadOlder();
}

function showOlder(words = "", retry) {
  const older = byID("older");
  older.replaceChildren(words);
  if (retry) older.append(" ", button("link", t("tryAgain"), retry));
  older.hidden = !words;
}

// seq is gap-free, so a jump means that something is missing. Frames may still be on their way,
// hence the pause. Internal notes leave holes on purpose: one complete fill closes them for good.
function seqDidAppear(seq) {
  if (!(seq > resumeSeq)) return;
  aheadSeqs.add(seq);
  closeRanks();
  if (aheadSeqs.size && !fillTimer) fillTimer = setTimeout(() => fillHoles(), 400);
}

function closeRanks() {
  while (seenSeqs.has(resumeSeq + 1)) resumeSeq += 1;
  for (const seq of aheadSeqs) if (seq <= resumeSeq) aheadSeqs.delete(seq);
}

async function fillHoles({ toHead = false } = {}) {
  clearTimeout(fillTimer);
  fillTimer = null;
  if (isFilling || !(aheadSeqs.size || toHead) || !conversationID) return;
  isFilling = true;
  const asked = conversationID;
  const target = toHead ? Infinity : Math.max(...aheadSeqs);
  try {
    for (let hasMore = true, after = resumeSeq; hasMore && after < target;) {
      const answer = await request("GET", conversationPath({ order: "asc", after_seq: after, limit: FILL_PAGE_LIMIT }));
      if (asked !== conversationID) return;
      for (const entry of answer.data) applyEntry(entry, { isLive: true });
      const reached = Math.max(after, ...answer.data.map((entry) => entry.seq));
      hasMore = Boolean(answer.page?.has_more) && reached > after;
      resumeSeq = Math.max(resumeSeq, reached);
      after = reached;
    }
    if (!toHead) resumeSeq = Math.max(resumeSeq, target);
    closeRanks();
  } catch { /* Tried again below; a reconnect resumes from the same place. */ }
  isFilling = false;
  if (aheadSeqs.size && !fillTimer) fillTimer = setTimeout(() => fillHoles(), 2000);
}

function clearLog() {
  for (const row of [...rows]) if (row.key < PENDING_KEY || row.run) removeRow(row);
  for (const kept of [seenSeqs, rowByMessageID, amendments, reactions, runs, aheadSeqs]) kept.clear();
  resumeSeq = 0;
  receipts = { delivered: 0, read: 0 };
  isHistoryLoaded = hasOlder = isFilling = false;
}

function restartHistory() {
  clearLog();
  connect();
}

function forgetConversation() {
  conversationID = null;
  clearLog();
}

// The rows of a conversation that was closed stay readable above the new one.
function adoptConversation(id) {
  if (conversationID) {
    hideTyping();
    for (const { row, text } of runs.values()) {
      if (row && !text) removeRow(row);
      else if (row && row.key > PENDING_KEY) {     // its end will be told to the old conversation
        row.box.classList.remove("streaming");
        row.box.dataset.state = "interrupted";
        moveRow(row, PENDING_KEY - 1);
      }
    }
    for (const row of rows) if (row.key < PENDING_KEY) row.key -= PENDING_KEY;
    for (const kept of [seenSeqs, aheadSeqs, runs]) kept.clear();
    refreshStop();
    resumeSeq = 0;
    receipts = { delivered: 0, read: 0 };
    hasOlder = isFilling = false;
    insertRow({ key: 0, node: noteNode(t("newConversation")), time: new Date() });
  }
  conversationID = id;
  isHistoryLoaded = true;
  seenSeq = reportedSeq = 0;
}

// ---------------------------------------------------------------- The log

const rows = [];                    // {key, node, time, message?, pending?, run?, …}, by key
const seenSeqs = new Set();
const rowByMessageID = new Map();
const amendments = new Map();       // message id → edits and redactions
const reactions = new Map();        // message id → sender → {emoji, seq}, the last of each
let isRefreshDue = false;

// A node that is already in its place is not touched: moving it would drop focus and selection.
function insertRow(row) {
  let index = rows.length;
  while (index > 0 && rows[index - 1].key > row.key) index -= 1;
  const next = rows[index]?.node ?? null;
  if (!row.node.isConnected || row.node.nextSibling !== next) entries.insertBefore(row.node, next);
  rows.splice(index, 0, row);
  refreshSoon();
}

function removeRow(row) {
  if (rows.includes(row)) rows.splice(rows.indexOf(row), 1);
  row.node.remove();
  refreshSoon();
}

function moveRow(row, key) {
  rows.splice(rows.indexOf(row), 1);
  row.key = key;
  insertRow(row);
}

// Every entry of the log passes here exactly once per seq, live or from a page.
function applyEntry(entry, { isLive = false } = {}) {
  if (entry.visibility === "internal" || !(entry.seq > 0)) return;
  const pending = outbox.get(entry.client_message_id);
  if (pending && entry.kind !== "edit") settlePending(pending, entry);
  else if (!seenSeqs.has(entry.seq)) {
    seenSeqs.add(entry.seq);
    if (!entry.kind || entry.kind === "message") applyMessage(entry, isLive);
    else applyOther(entry, isLive);
  }
  if (isLive) seqDidAppear(entry.seq);
}

function applyMessage(message, isLive) {
  const type = message.content?.type;
  if ((type === "event" && !isRedacted(message.content)) || type === "reaction") return;
  const isOutbound = message.direction === "outbound";
  const replacesRun = isLive && isOutbound && settleRun(message);
  if (isOutbound) hideTyping();
  const row = messageRow(message);
  if (isLive && !replacesRun) row.node.classList.add("arriving");
  insertRow(row);
  if (!isLive || !isOutbound) return;
  showHandler({ type: { bot: "bot", agent: "human" }[message.sender?.type] });
  const { content } = currentView(message);
  announce(`${senderName(message.sender)}: ${content.type === "removed" ? t("removed") : plainText(content, t("choices"))}`);
  if (!isPinned) { unseenCount += 1; refreshNewest(); }
}

// Entries that are not messages carry their facts in content, content.data or metadata.
function entryFacts(entry) {
  return { ...entry.metadata, ...entry.content, ...entry.content?.data };
}

function applyOther(entry, isLive) {
  const facts = entryFacts(entry);
  const target = facts.message_id ?? entry.reply_to;
  if (entry.kind === "edit" || entry.kind === "redaction") return amend(target, entry);
  if (entry.kind === "reaction") return react(target, entry, facts.emoji);
  let words = null;
  if (entry.kind === "handler") {
    const handler = facts.handler ?? facts;
    const type = handler.type === "event" ? entry.sender?.type : handler.type;
    words = type === "human" ? t("humanJoined")
      : type === "bot" ? t("botAgain") : null;
    if (isLive && words) showHandler({ ...handler, type });
  } else if (entry.kind === "status" && !facts.message_id) {
    words = { closed: t("closed"), open: t("reopened") }[facts.status];
  }
  if (!words) return;
  insertRow({ key: entry.seq, node: noteNode(words), time: new Date(entry.created_at) });
  if (isLive) announce(words);
}

function amend(messageID, entry) {
  if (!messageID) return;
  const list = amendments.get(messageID) ?? [];
  list.push(entry);
  list.sort((left, right) => left.seq - right.seq);
  amendments.set(messageID, list);
  renderAgain(messageID);
}

// The last reaction of each sender counts; an empty one was taken back.
function react(messageID, { seq, sender }, emoji) {
  if (!messageID) return;
  const bySender = reactions.get(messageID) ?? new Map();
  reactions.set(messageID, bySender);
  const key = `${sender?.type} ${sender?.id}`;
  if (bySender.get(key)?.seq > seq) return;
  bySender.set(key, { emoji: String(emoji ?? ""), seq });
  renderAgain(messageID);
}

function renderAgain(messageID) {
  const row = rowByMessageID.get(messageID);
  if (!row) return;
  renderMessage(row);
  refreshSoon();
}

const isRedacted = (content) => content?.type === "event" && content.name === "redacted";

// What a message looks like after all that was said about it. A deleted one stays deleted, whatever
// else is told of it, and in whichever order.
function currentView(message) {
  const changes = amendments.get(message.id) ?? [];
  const edit = changes.at(-1);
  const content = edit?.content ?? message.content;
  const isGone = isRedacted(message.content) || changes.some((entry) => entry.kind === "redaction" || isRedacted(entry.content));
  if (isGone || !content) return { content: { type: "removed" }, isEdited: false };
  return { content, isEdited: Boolean(edit || message.edited_at) };
}

function messageRow(message) {
  const isOwn = message.direction === "inbound";
  const row = { key: message.seq, message, isOwn, time: new Date(message.created_at) };
  row.author = isOwn ? "own" : `${message.sender?.type} ${message.sender?.id}`;
  row.box = el("div", { class: "message" });
  row.node = el("li", { class: isOwn ? "row own" : "row" }, row.box);
  renderMessage(row);
  return row;
}

function renderMessage(row) {
  const { message, pending, isOwn } = row;
  const view = currentView(message);
  Object.assign(row.box.dataset, {
    messageId: message.id, seq: message.seq ?? "",
    state: pending?.state ?? "sent", direction: isOwn ? "inbound" : "outbound",
  });
  if (message.client_message_id) row.box.dataset.clientId = message.client_message_id;
  if (!pending) rowByMessageID.set(message.id, row);
  const { content } = view;
  const bubble = el("div", { class: `bubble ${bubbleClass(content)}` });
  bubble.append(...(contentNodes[content.type] ?? contentNodes.unknown)(content).filter(Boolean));
  row.quickReplies = content.type === "quick_replies" ? quickReplyNode(content) : null;
  row.stateNode = el("span", { class: "state" });
  row.isEdited = view.isEdited;
  row.meta = el("p", { class: view.isEdited ? "meta keep" : "meta" }, timeNode(row.time),
    view.isEdited ? el("span", { class: "edited" }, t("edited")) : null, row.stateNode);
  const sender = isOwn
    ? el("span", { class: "hidden-text" }, t("youSaid"))
    : el("p", { class: "sender", dir: "auto" }, senderName(message.sender));
  const reacted = content.type === "removed" ? null : reactionsNode(reactions.get(message.id));
  row.box.replaceChildren(...[sender, bubble, reacted, row.quickReplies, row.meta].filter(Boolean));
  refreshState(row);
}

function refreshState(row) {
  if (!row.isOwn || !row.stateNode) return;
  const { pending } = row;
  let words = t("sent");
  if (pending?.state === "failed") words = t("notSent", { reason: pending.reason });
  else if (pending) words = isReady ? t("sending") : t("waiting");
  else if (row.key > 0 && row.key <= receipts.read) words = t("read");
  else if (row.key > 0 && row.key <= receipts.delivered) words = t("delivered");
  row.box.dataset.state = pending?.state ?? "sent";
  row.meta.classList.toggle("keep", row.isEdited || pending?.state === "failed");
  if (row.shownState === words && row.stateNode.firstChild) return;
  row.shownState = words;
  row.stateNode.replaceChildren(words);
  if (pending?.state === "failed") {
    row.stateNode.append(" ", button("link retry", t("tryAgain"), () => retryPending(pending)),
      " ", button("link discard", t("discard"), () => discardPending(pending)));
  }
}

function refreshSoon() {
  if (isRefreshDue) return;
  isRefreshDue = true;
  queueMicrotask(() => { if (isRefreshDue) refreshLog(); });
}

// Dates, groups, choices and states follow from the neighbours: one pass sets them all.
function refreshLog() {
  isRefreshDue = false;
  const dayOf = (row) => row.time.toDateString();
  rows.forEach((row, index) => {
    const previous = rows[index - 1], next = rows[index + 1];
    const startsDay = !previous || dayOf(previous) !== dayOf(row);
    if (startsDay && !row.day) row.node.prepend(row.day = el("div", { class: "day" }));
    if (startsDay) row.day.replaceChildren(el("span", {}, dayLabel(row.time)));
    else if (row.day) { row.day.remove(); row.day = null; }
    row.node.classList.toggle("first", startsDay || !isGrouped(previous, row));
    row.node.classList.toggle("last", !next || dayOf(next) !== dayOf(row) || !isGrouped(row, next));
    if (row.message) refreshState(row);
  });
  refreshChoices();
  byID("empty").hidden = rows.length > 0 || !isEmptyRevealed;
  byID("content").hidden = !byID("empty").hidden;
  if (isPinned) scrollToNewest();
  refreshUnread();
}

function isGrouped(left, right) {
  return Boolean(left.author) && left.author === right.author && Math.abs(right.time - left.time) < GROUP_WITHIN_MS;
}

// Quick replies go once the user has said anything; a pressed choice stays marked.
function refreshChoices() {
  let hasAnswerBelow = false;
  const pressedIDs = new Set();
  for (let index = rows.length - 1; index >= 0; index -= 1) {
    const row = rows[index];
    if (!row.message) continue;
    if (row.isOwn) {
      hasAnswerBelow = true;
      if (row.message.content?.type === "reply") pressedIDs.add(row.message.content.id);
    }
    if (row.quickReplies) row.quickReplies.hidden = hasAnswerBelow;
    for (const group of row.isOwn ? [] : row.box.querySelectorAll(".choices")) {
      const choices = [...group.querySelectorAll("button.choice")];
      const pressed = choices.find((choice) => pressedIDs.delete(choice.dataset.choiceId));
      if (!pressed || group.dataset.answered) continue;
      group.dataset.answered = "true";
      pressed.setAttribute("aria-pressed", "true");
      for (const choice of choices) choice.disabled = true;
    }
  }
}

// ---------------------------------------------------------------- Content

function choiceNode(option) {
  const title = String(option.title ?? option.id ?? "");
  const url = option.url ? safeURL(option.url) : null;
  if (url) return outerLink(url, { class: "choice", dir: "auto" }, title);
  const detail = option.description ? el("small", {}, String(option.description)) : null;
  const node = button("choice", title, () => press(option, node.closest(".choices")));
  if (detail) node.append(detail);
  node.dataset.choiceId = option.id ?? "";
  node.disabled = Boolean(option.url);   // an address that is not safe to open is not offered
  return node;
}

function choicesNode(options = []) {
  return options.length ? el("div", { class: "choices", role: "group", "aria-label": t("choices") }, ...options.map(choiceNode)) : null;
}

function quickReplyNode(content) {
  return el("div", { class: "chips", role: "group", "aria-label": t("suggested") },
    ...(content.replies ?? []).map((reply) => {
      const node = button("chip quick-reply", String(reply.title ?? reply.id), () => press(reply));
      node.dataset.choiceId = reply.id ?? "";
      return node;
    }));
}

function press(option, group) {
  if (group?.dataset.answered) return;
  send({ type: "reply", id: option.id, title: option.title });
  if (!isTouch) composer.focus(); else log.focus({ preventScroll: true });
}

const contentNodes = {
  text: (content) => [textNode(content.text)],
  reply: (content) => [textNode(content.title ?? content.id)],
  quick_replies: (content) => [textNode(content.text)],
  buttons: (content) => [textNode(content.text), choicesNode(content.buttons)],
  list: (content) => [textNode(content.text), listNode(content)],
  carousel: (content) => [el("ul", { class: "carousel", tabindex: 0, "aria-label": t("cards") },
    ...(content.cards ?? []).map(cardNode))],
  image: (content) => [
    outerLink(null, {}, withMedia(el("img", {
      alt: content.caption || content.filename || t("image"), width: content.width, height: content.height,
      loading: "lazy", referrerpolicy: "no-referrer",
    }), content)), captionNode(content)],
  video: (content) => [withMedia(el("video", { controls: "", playsinline: "" }), content), captionNode(content)],
  audio: (content) => [withMedia(el("audio", { controls: "" }), content), captionNode(content)],
  file: (content) => [
    withMedia(attachment("📄", content.filename || t("file"),
      [content.mime_type, sizeLabel(content.size)].filter(Boolean).join(", ")), content), captionNode(content)],
  location(content) {
    const latitude = Number(content.latitude), longitude = Number(content.longitude);
    const node = attachment("📍",
      content.name || t("location"), content.address || `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`);
    node.href = `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}#map=16/${latitude}/${longitude}`;
    return [node];
  },
  removed: () => [el("div", { class: "text" }, t("removed"))],
  unknown: (content) => [textNode(content.text || content.title || t("notShown"))],
};

function reactionsNode(bySender = new Map()) {
  const counts = new Map();
  for (const { emoji } of bySender.values()) if (emoji) counts.set(emoji, (counts.get(emoji) ?? 0) + 1);
  if (counts.size === 0) return null;
  return el("ul", { class: "reactions", "aria-label": t("reactions") },
    ...[...counts].map(([emoji, count]) => el("li", { dir: "auto" }, count > 1 ? `${emoji} ${count}` : emoji)));
}

function captionNode(content) {
  return content.caption ? textNode(content.caption, "text caption") : null;
}

function listNode(content) {
  const sections = (content.sections ?? []).map((section) => el("div", {},
    section.title ? el("h3", { dir: "auto" }, String(section.title)) : null,
    choicesNode(section.rows ?? section.items)));
  const label = String(content.button || t("choose"));
  return el("details", { class: "list", open: "", "aria-label": label }, el("summary", { dir: "auto" }, label), ...sections);
}

function cardNode(card) {
  const url = card.image_url ? safeURL(card.image_url) : null;
  return el("li", {},
    url ? el("img", { src: url, alt: "", loading: "lazy", referrerpolicy: "no-referrer" }) : null,
    el("div", { class: "body" },
      el("h3", { dir: "auto" }, String(card.title ?? "")),
      card.subtitle ? el("p", { dir: "auto" }, String(card.subtitle)) : null,
      choicesNode(card.buttons)));
}

// Stored media need the token, which an element cannot send: they are fetched into a blob.
function withMedia(node, content) {
  const show = (url) => {
    if (node.tagName === "A") node.href = url; else node.src = url;
    if (content.type === "file" && content.filename) node.download = content.filename;
    if (node.parentElement?.tagName === "A") node.parentElement.href = url;
  };
  const url = content.url ? safeURL(content.url) : null;
  if (url) queueMicrotask(() => show(url));
  else if (content.media_id) {
    fetch(new URL(`api/v2/media/${encodeURIComponent(content.media_id)}`, settings.server), { headers: { Authorization: `Bearer ${identity.token}` } })
      .then((response) => response.ok ? response.blob() : Promise.reject(response.status))
      .then((blob) => show(URL.createObjectURL(blob)))
      .catch(() => node.replaceWith(el("span", {}, t("notLoaded"))));
  }
  return node;
}

function senderName(sender = {}) {
  if (sender.type === "agent") return sender.name ?? sender.display_name ?? t("agent");
  return sender.type === "system" ? t("title") : t("assistant");
}

const clock = new Intl.DateTimeFormat(settings.locale, { hour: "numeric", minute: "2-digit" });
const fullDate = new Intl.DateTimeFormat(settings.locale, { dateStyle: "full", timeStyle: "short" });

function timeNode(time) {
  if (Number.isNaN(time.getTime())) return el("time");
  return el("time", { datetime: time.toISOString(), title: fullDate.format(time) }, clock.format(time));
}

function dayLabel(time) {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(time).setHours(0, 0, 0, 0)) / 86400000);
  if (days === 0) return t("today");
  if (days === 1) return t("yesterday");
  const isThisYear = time.getFullYear() === new Date().getFullYear();
  return time.toLocaleDateString(settings.locale, { weekday: "long", day: "numeric", month: "long", year: isThisYear ? undefined : "numeric" });
}

function noteNode(words) {
  return el("li", { class: "row note" }, el("span", {}, words));
}

// ---------------------------------------------------------------- Streaming answers and typing

const runs = new Map();     // run id → {id, row, text, index, generation, isEnded, reason}
const COMPLETE_REASONS = [undefined, null, "", "completed", "complete", "done", "stop", "ok"];
let typingRow = null, typingTimer;

function applyRun(frame) {
  if (!belongs(frame.conversation_id)) return;
  let run = runs.get(frame.run_id);
  if (frame.state === "ended") { if (run) endRun(run, frame.reason); return; }
  if (!run) runs.set(frame.run_id, run = { id: frame.run_id, text: "", index: -1, generation });
  if (run.isEnded) return;
  if (run.generation !== generation || frame.state === "started") {
    // After a reconnect the server tells the text so far again.
    Object.assign(run, { text: "", index: -1, generation });
    if (run.row) removeRow(run.row);
    run.row = null;
  }
  if (frame.state === "delta" && !(frame.index <= run.index)) {
    run.index = frame.index ?? run.index;
    run.text += frame.text ?? "";
  }
  showRun(run);
}

function liveRow(key, sender, run) {
  const text = el("div", { class: "text", dir: "auto" });
  const dots = el("span", { class: "dots" }, el("i"), el("i"), el("i"),
    el("span", { class: "hidden-text" }, t("writing", { name: senderName(sender) })));
  const box = el("div", { class: "message streaming", "data-direction": "outbound", "data-state": run ? "streaming" : "typing", "data-run-id": run?.id },
    el("p", { class: "sender" }, senderName(sender)), el("div", { class: "bubble" }, dots, text));
  const row = { key, run, box, text, dots, time: new Date(), author: `${sender.type} ${sender.id}` };
  row.node = el("li", { class: "row arriving" }, box);
  return row;
}

function showRun(run) {
  hideTyping();
  if (!run.row) insertRow(run.row = liveRow(RUN_KEY + runs.size, { type: "bot", id: `run ${run.id}` }, run));
  const { text, dots } = run.row;
  dots.hidden = run.text !== "";
  if (!text.firstChild) text.append(run.text);
  else text.firstChild.appendData(run.text.slice(text.firstChild.length));
  refreshStop();
}

// The durable message takes the place of what was streamed. It may come before or after `ended`.
function settleRun(message) {
  if (message.sender?.type && message.sender.type !== "bot") return false;
  const id = message.metadata?.run_id ?? message.run_id;
  const shown = [...runs.values()].filter((run) => run.row);
  const run = runs.get(id) ?? (id ? null : shown.find((candidate) => COMPLETE_REASONS.includes(candidate.reason)));
  if (!run?.row) return false;
  removeRow(run.row);
  run.row = null;
  if (run.isEnded) runs.delete(run.id);
  refreshStop();
  return true;
}

function endRun(run, reason) {
  run.isEnded = true;
  run.reason = reason;
  refreshStop();
  if (!run.row) return runs.delete(run.id);
  run.row.box.classList.remove("streaming");
  if (!COMPLETE_REASONS.includes(reason)) return interruptRun(run, reason);
  // The message should be here any moment. If it is not, the history has it.
  setTimeout(async () => {
    if (!run.row) return;
    await fillHoles({ toHead: true });
    if (run.row) removeRow(run.row);
    runs.delete(run.id);
  }, 3000);
}

function interruptRun(run, reason) {
  const wasStopped = /^cancell?ed$/.test(reason);
  const words = wasStopped ? t("wasStopped") : t("interrupted");
  const { row } = run;
  row.dots.hidden = true;
  row.box.querySelector(".bubble").hidden = run.text === "";
  row.box.dataset.state = wasStopped ? "cancelled" : "interrupted";
  row.box.append(el("p", { class: "meta keep" }, el("span", { class: "state" }, words)));
  announce(words);
  moveRow(row, Math.max(0, resumeSeq, ...aheadSeqs) + 0.5 + runs.size / 1000);
}

function dropStaleRuns() {
  for (const run of runs.values()) {
    if (run.generation === generation || run.isEnded) continue;
    if (run.row) removeRow(run.row);
    runs.delete(run.id);
  }
  refreshStop();
}

function liveRun() {
  return [...runs.values()].reverse().find((run) => run.row && !run.isEnded);
}

function refreshStop() {
  const run = liveRun();
  const stop = byID("stop");
  const isShown = Boolean(run) && socket !== null;
  if (!isShown && root.activeElement === stop) composer.focus();
  stop.hidden = !isShown;
  if (isShown && stop.dataset.runId !== run.id) { stop.dataset.runId = run.id; stop.disabled = false; }
}

byID("stop").addEventListener("click", () => {
  const run = liveRun();
  if (run && transmit({ type: "cancel", run_id: run.id })) byID("stop").disabled = true;
});

function showTyping(sender) {
  if (liveRun()) return;
  clearTimeout(typingTimer);
  typingTimer = setTimeout(hideTyping, TYPING_SHOWN_MS);
  if (!typingRow) insertRow(typingRow = liveRow(TYPING_KEY, sender));
}

function hideTyping() {
  clearTimeout(typingTimer);
  if (typingRow) removeRow(typingRow);
  typingRow = null;
}

// ---------------------------------------------------------------- Sending

const outbox = new Map();       // client id → {id, content, state, reason, attempts, timer, row}
let sentCount = 0, typingSentAt = 0, typingStopTimer;

function send(content) {
  const pending = { id: `c-${uniqueID()}`, content, state: "sending", attempts: 0, createdAt: new Date().toISOString() };
  keepPending(pending);
  isPinned = true;
  showPending(pending);
  refreshLog();
  if (isReady) transmitPending(pending);
  else if (isStopped || !isStarted) connectNow();
}

function showPending(pending) {
  outbox.set(pending.id, pending);
  const row = pending.row = {
    key: PENDING_KEY + ++sentCount, pending, isOwn: true, author: "own", time: new Date(pending.createdAt),
    message: { id: pending.id, client_message_id: pending.id, content: pending.content },
  };
  row.box = el("div", { class: "message" });
  row.node = el("li", { class: "row own arriving" }, row.box);
  renderMessage(row);
  insertRow(row);
}

// One key a message: two tabs never write over each other's. Both may send the same one after a
// reload; its client id makes that one message.
function keepPending({ id, content, state, reason, createdAt }) {
  storage.write(`outbox.${id}`, { id, content, state, reason, createdAt });
}

function restoreOutbox() {
  const kept = storage.names("outbox.").map((name) => storage.read(name))
    .filter((item) => typeof item?.id === "string" && item.content && Date.parse(item.createdAt) > 0)
    .sort((left, right) => Date.parse(left.createdAt) - Date.parse(right.createdAt));
  for (const { id, content, state, reason, createdAt } of kept) {
    const isOld = Date.now() - Date.parse(createdAt) > RESEND_WITHIN_MS;
    showPending(isOld || state === "failed"
      ? { id, content, state: "failed", reason: reason || t("kept"), attempts: 0, createdAt }
      : { id, content, state: "sending", attempts: 0, createdAt });
  }
  if (kept.length > 0) refreshLog();
}

function transmitPending(pending) {
  clearTimeout(pending.timer);
  if (!isReady || outbox.get(pending.id) !== pending) return;   // the next connection takes it
  if (pending.attempts >= SEND_ATTEMPTS_MAX) return failPending(pending, t("unconfirmed"));
  const frame = { type: "message", id: pending.id, content: pending.content, channel: CHANNEL };
  if (conversationID) frame.conversation_id = conversationID;
  if (!transmit(frame)) return;
  pending.attempts += 1;
  pending.timer = setTimeout(() => transmitPending(pending), ACK_TIMEOUT_MS);
  refreshState(pending.row);
}

function settlePending(pending, message) {
  clearTimeout(pending.timer);
  outbox.delete(pending.id);
  storage.remove(`outbox.${pending.id}`);
  const { row } = pending;
  if (seenSeqs.has(message.seq)) return removeRow(row);
  seenSeqs.add(message.seq);
  row.pending = null;
  row.message = message;
  row.time = new Date(message.created_at ?? pending.createdAt);
  Object.assign(row.box.dataset, { messageId: message.id, seq: message.seq });
  rowByMessageID.set(message.id, row);
  if (message.edited_at || isRedacted(message.content) || amendments.has(message.id) || reactions.has(message.id)) renderMessage(row);
  row.node.classList.remove("arriving");
  moveRow(row, message.seq);
}

function failPending(pending, reason) {
  clearTimeout(pending.timer);
  Object.assign(pending, { state: "failed", reason });
  keepPending(pending);
  refreshState(pending.row);
  announce(t("notSent", { reason }));
  refreshSoon();
}

function retryPending(pending) {
  Object.assign(pending, { state: "sending", attempts: 0, reason: "", createdAt: new Date().toISOString() });
  keepPending(pending);
  refreshState(pending.row);
  composer.focus({ preventScroll: true });
  if (isReady) transmitPending(pending);
  else if (isStopped) connectNow();
}

function discardPending(pending) {
  clearTimeout(pending.timer);
  outbox.delete(pending.id);
  storage.remove(`outbox.${pending.id}`);
  removeRow(pending.row);
  composer.focus({ preventScroll: true });
}

function refreshOutbox() {
  for (const pending of outbox.values()) refreshState(pending.row);
}

function reportTyping(state) {
  clearTimeout(typingStopTimer);
  if (!conversationID || !isReady) return;
  const now = Date.now();
  if (state === "start") {
    typingStopTimer = setTimeout(() => reportTyping("stop"), TYPING_EVERY_MS + 1500);
    if (now - typingSentAt < TYPING_EVERY_MS) return;
    typingSentAt = now;
  } else if (!typingSentAt) return;
  else typingSentAt = 0;
  transmit({ type: "typing", conversation_id: conversationID, state });
}

// ---------------------------------------------------------------- What nobody has looked at

let isShown = settings.isPage;      // the panel is open
let seenSeq = 0, reportedSeq = 0, unreadCount = 0;

const isLookedAt = () => isShown && document.visibilityState === "visible";

// Where this reader was, on this device. Somebody who was never here has nothing unread.
function recallSeen(newestSeq) {
  const kept = storage.read("seen");
  seenSeq = kept?.conversation === conversationID ? kept.seq : newestSeq;
}

// The server keeps it for all devices, and tells agents. It takes a seq twice as once.
function reportRead() {
  if (!isReady || !isLookedAt() || seenSeq <= reportedSeq) return;
  if (transmit({ type: "read", conversation_id: conversationID, seq: seenSeq })) reportedSeq = seenSeq;
}

function refreshUnread() {
  const shown = rows.filter((row) => row.key > 0 && row.key < PENDING_KEY && row.message);
  if (isLookedAt()) {
    const newest = Math.floor(Math.max(seenSeq, ...shown.map((row) => row.key)));
    if (newest > seenSeq) storage.write("seen", { conversation: conversationID, seq: newest });
    seenSeq = newest;
    reportRead();
  }
  const count = shown.filter((row) => !row.isOwn && row.key > seenSeq).length;
  if (count !== unreadCount) onUnread(unreadCount = count);
}

window.addEventListener("storage", (event) => {
  if (event.key !== `${storage.prefix}seen`) return;
  const kept = storage.read("seen");
  if (kept?.conversation === conversationID && kept.seq > seenSeq) { seenSeq = kept.seq; refreshUnread(); }
}, { signal });

// ---------------------------------------------------------------- Furniture

const isTouch = matchMedia("(pointer: coarse)").matches;
let isPinned = true, unseenCount = 0, isEmptyRevealed = false, noticeTimer, noticeAbout = "", noticeAction;

function setStatus(state, words) {
  const status = byID("status");
  const label = words ?? { online: t("online"), connecting: generation > 2 ? t("reconnecting") : t("connecting"), offline: t("retrying") }[state];
  status.dataset.state = state;
  if (status.textContent !== label) status.textContent = label;
}

function showHandler(handler) {
  const words = { human: t("humanAnswers"), bot: t("botAnswers") }[handler?.type];
  byID("handler").textContent = words ? ` · ${words}` : "";
}

function notice(words, { label, action, about = "", forMs } = {}) {
  clearTimeout(noticeTimer);
  noticeAbout = about;
  noticeAction = action;
  byID("notice").hidden = false;
  const text = byID("notice").firstElementChild;
  if (text.textContent !== words) text.textContent = words;     // the same words are not read twice
  byID("notice-action").hidden = !label;
  byID("notice-action").textContent = label ?? "";
  if (forMs) noticeTimer = setTimeout(clearNotice, forMs, about);
}

function noticeRateLimit(waitMs) {
  notice(t("rateLimited", { n: Math.max(1, Math.ceil(waitMs / 1000)) }), { about: "rate", forMs: waitMs + 1500 });
}

function clearNotice(about) {
  if (about && about !== noticeAbout) return;
  const box = byID("notice");
  if (box.contains(root.activeElement)) composer.focus();
  box.firstElementChild.textContent = "";
  box.hidden = true;
}

// Once a message, whole: the visible log is not live.
function announce(words) {
  const announcer = byID("announcer");
  announcer.append(el("p", { dir: "auto" }, words));
  while (announcer.childElementCount > 20) announcer.firstChild.remove();
}

function revealEmptyState() {
  if (!isEmptyRevealed) { isEmptyRevealed = true; refreshLog(); }
}

function scrollToNewest() {
  log.scrollTop = log.scrollHeight;
  isPinned = true;
  unseenCount = 0;
  refreshNewest();
}

function refreshNewest() {
  const newest = byID("newest");
  newest.hidden = isPinned || (unseenCount === 0 && log.scrollHeight - log.scrollTop - log.clientHeight < log.clientHeight);
  newest.textContent = `↓ ${unseenCount === 0 ? t("latest") : t("newCount", { n: unseenCount })}`;
}

// Rows are put above what the reader looks at: keep that where it is on the screen.
function holdScroll(change) {
  const top = log.getBoundingClientRect().top;
  const anchor = rows.find((row) => row.box && row.box.getBoundingClientRect().bottom > top)?.box;
  const before = anchor?.getBoundingClientRect().top;
  change();
  if (anchor && !isPinned) log.scrollTop += anchor.getBoundingClientRect().top - before;
}

function fitComposer() {
  // Nothing has no direction of its own: the placeholder and the caret follow the language.
  composer.dir = composer.value ? "auto" : settings.direction;
  composer.style.height = "auto";
  if (isShown) composer.style.height = `${composer.scrollHeight}px`;
  byID("send").disabled = composer.value.trim() === "";
  const left = TEXT_LENGTH_MAX - composer.value.length;
  byID("left").textContent = left < 500 ? t("left", { n: left }) : "";
}

function submit() {
  const text = composer.value.trim();
  if (!text) return;
  composer.value = "";
  fitComposer();
  clearNotice("attach");
  reportTyping("stop");
  send({ type: "text", text });
  composer.focus();
}

const noticeAttachment = () => notice(t("cannotAttach"), { about: "attach", forMs: 12000 });

byID("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
composer.addEventListener("input", () => {
  fitComposer();
  reportTyping(composer.value.trim() ? "start" : "stop");
});
composer.addEventListener("keydown", (event) => {
  // 229 is Safari's way of saying that the input method still holds this Enter.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
composer.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length && !event.clipboardData.getData("text")) noticeAttachment();
});
// Without this the browser leaves the page to show the file.
byID("panel").addEventListener("dragover", (event) => {
  if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
});
byID("panel").addEventListener("drop", (event) => {
  if (!event.dataTransfer?.files.length) return;
  event.preventDefault();
  noticeAttachment();
});
byID("attach").addEventListener("click", noticeAttachment);
byID("suggestions").addEventListener("click", ({ target }) => {
  if (!target.matches(".suggestion")) return;
  send({ type: "text", text: target.textContent });
  if (!isTouch) composer.focus(); else log.focus({ preventScroll: true });
});
byID("newest").addEventListener("click", () => { scrollToNewest(); log.focus({ preventScroll: true }); });
byID("notice-action").addEventListener("click", () => noticeAction?.());
byID("notice-close").addEventListener("click", () => clearNotice());

log.addEventListener("scroll", () => {
  const wasPinned = isPinned;
  isPinned = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  if (isPinned && !wasPinned) unseenCount = 0;
  refreshNewest();
  if (log.scrollTop < 240 && isHistoryLoaded) loadOlder();
}, { passive: true });

// Streaming text, pictures and the keyboard change heights; whoever reads the end stays there.
const heights = new ResizeObserver(() => { if (isPinned) log.scrollTop = log.scrollHeight; });
heights.observe(log);
heights.observe(byID("content"));

window.addEventListener("online", () => { if (isStarted && !isReady) connectNow(); }, { signal });
window.addEventListener("offline", () => {
  if (isStopped || !isStarted) return;
  // Loopback works without a network, so keep trying rather than trust the browser's word.
  dropSocket();
  reconnect(1500);
}, { signal });
document.addEventListener("visibilitychange", () => {
  refreshUnread();
  if (document.visibilityState !== "visible" || isStopped || !isStarted) return;
  if (isReady) probe(4000);
  else if (!socket) connectNow();
}, { signal });
window.addEventListener("pageshow", (event) => { if (event.persisted && isStarted) connectNow(); }, { signal });

fitComposer();
restoreOutbox();
if (settings.isPage && !isTouch) composer.focus();
// Who was here before hears of answers without opening the chat.
if (settings.isPage || identity || outbox.size > 0) connect();

return {
  show() {
    isShown = true;
    if (!isStarted) connect();
    fitComposer();
    if (isPinned) scrollToNewest();
    fillViewport();
    refreshUnread();
  },
  hide() {
    isShown = false;
    reportTyping("stop");
  },
  end() {
    ending.abort();
    dropSocket();
    for (const timer of [fillTimer, noticeTimer, typingTimer, typingStopTimer]) clearTimeout(timer);
    heights.disconnect();
  },
};
}
