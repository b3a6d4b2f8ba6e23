// The open conversation: its record and its log.
//
// An agent is shown every entry, so `seq` has no gaps: `resumeSeq` is the seq up to which nothing is
// missing, a jump beyond it is filled by paging, and a reconnect resumes there. What an entry says
// about an earlier one (edit, redaction, reaction) is drawn on that one.

const PAGE_LIMIT = 50;
const FILL_LIMIT = 200;
const FILL_ENTRIES_MAX = 1000;      // a longer absence starts again at the newest page
const TYPING_SHOWN_MS = 7000;
const GROUP_WITHIN_MS = 5 * 60 * 1000;
const UNSENT_SEQ = 1e12, RUN_SEQ = 2e12;     // rows without a seq stand below the log

function startLog(desk) {
  const { t, me, byID, call, link, content: maker } = desk;
  const { facts, sideOf, senderName, currentView, lineWords } = desk.entries;
  const log = byID("log"), entries = byID("entries");
  let id = null, record = null, round = 0;
  let rows = [];                    // {seq, entry?, node, box?, author, time}, by seq
  let bySeq = new Map(), byMessage = new Map(), amendments = new Map(), runs = new Map(), typists = new Map();
  let resumeSeq = 0, newestSeq = 0, isLoaded = false, hasOlder = false, isLoadingOlder = false, isFilling = false, unreadFrom = 0;
  let receipts = { delivered: 0, read: 0 }, presence = new Map();
  let isPinned = true, unseenCount = 0, fillTimer, recordTimer, isRefreshDue = false;

  // ---------------------------------------------------------------- Opening

  async function open(asked) {
    if (id && id !== asked) link.unfollow(id, "log");
    clear();
    const mine = ++round;
    id = asked;
    desk.openID = id;
    byID("nothing").hidden = Boolean(id);
    byID("open").hidden = !id;
    desk.reply.conversationDidOpen(id);
    desk.details.show(null);
    desk.queue.refreshRows();
    if (!id) return;
    unreadFrom = desk.queue.seenSeq(id);
    showRecord();
    // Followed before the page is read: what comes in between is known twice and shown once.
    link.follow(id, "log", () => resumeSeq);
    await load(mine);
  }

  async function load(mine) {
    try {
      const { data } = await call("GET", `conversations/${encodeURIComponent(id)}?order=desc&limit=${PAGE_LIMIT}`);
      if (mine !== round) return;
      isLoaded = true;
      hasOlder = Boolean(data.page?.has_more) && data.data.length > 0;
      setRecord(data.conversation);
      for (const entry of data.data) { put(entry); resumeSeq = Math.max(resumeSeq, entry.seq); }
      closeRanks();
      refresh();
      scrollToNewest();
      showOlder();
      fillViewport();
      desk.clearNotice("load");
    } catch (fault) {
      if (mine !== round || fault.status === 401) return;
      if (fault.status === 404 || fault.status === 422) {
        desk.notice(t("noConversation"), { about: "load" });
        return;
      }
      desk.notice(fault.status === 0 ? t("loadOffline") : t("loadFailed", { reason: fault.message }), {
        about: "load", label: t("tryAgain"), action: () => { desk.clearNotice("load"); if (mine === round) load(mine); },
      });
      if (fault.retryable) setTimeout(() => { if (mine === round && !isLoaded) load(mine); }, fault.retryAfterMs ?? 4000);
    }
  }

  function clear() {
    rows = [];
    for (const { timer } of typists.values()) clearTimeout(timer);
    bySeq = new Map(); byMessage = new Map(); amendments = new Map(); runs = new Map(); typists = new Map();
    resumeSeq = newestSeq = unseenCount = 0;
    isLoaded = hasOlder = isLoadingOlder = isFilling = false;
    isPinned = true;
    receipts = { delivered: 0, read: 0 };
    record = null;
    clearTimeout(fillTimer);
    clearTimeout(recordTimer);
    fillTimer = recordTimer = undefined;
    entries.replaceChildren();
    showOlder();
    showTyping();
    refreshNewest();
  }

  // ---------------------------------------------------------------- The record

  function setRecord(fresh) {
    if (!fresh || fresh.id !== id || record?.version > fresh.version) return;
    record = fresh;
    showRecord();
    desk.queue.recordDidChange(fresh);
  }

  function showRecord() {
    byID("heading").replaceChildren(el("bdi", {}, record?.user_id ?? t("loading")));
    const isHuman = record?.handler?.type === "human", isMine = isHuman && record.assignee === me;
    const who = !record ? "" : !isHuman ? t("botAnswers") : record.assignee === me ? t("youAnswer")
      : record.assignee ? t("otherAnswers", { name: record.assignee }) : t("nobodyAnswers");
    const online = { online: t("isOnline"), offline: t("isOffline"), away: t("isAway") }[presence.get(record?.user_id)];
    byID("subheading").textContent = [record && record.status !== "open" ? t(`status_${record.status}`) : "", who, online].filter(Boolean).join(" · ");
    for (const name of ["take", "give", "close"]) byID(name).disabled = !record;
    byID("take").hidden = isMine;
    byID("give").hidden = !isMine;
    byID("close").textContent = record?.status === "closed" ? t("reopen") : t("close");
    desk.details.show(record);
    desk.reply.recordDidChange(record);
  }

  async function reload() {
    const asked = id, mine = round;
    const { data } = await call("GET", `conversations/${encodeURIComponent(asked)}?order=desc&limit=1`);
    if (mine === round) setRecord(data.conversation);
    return data.conversation;
  }

  function reloadSoon() {
    clearTimeout(recordTimer);
    const mine = round;
    recordTimer = setTimeout(() => { if (mine === round) reload().catch(() => { recordTimer = setTimeout(reloadSoon, 3000); }); }, 120);
  }

  // ---------------------------------------------------------------- Entries

  // Every entry passes here once per seq, live or from a page.
  function put(entry, isLive = false) {
    if (!(entry?.seq > 0) || entry.conversation_id && entry.conversation_id !== id) return;
    desk.reply.entryDidCome(entry);
    if (bySeq.has(entry.seq)) return;
    bySeq.set(entry.seq, entry);
    newestSeq = Math.max(newestSeq, entry.seq);
    const kind = entry.kind ?? "message";
    if (kind === "message" && entry.content?.type === "reaction") amend(entry.content.message_id, entry);
    else if (kind === "message" && (entry.content?.type !== "event" || entry.content.name === "redacted")) putMessage(entry, isLive);
    else if (["edit", "redaction", "reaction"].includes(kind)) amend(entry.reply_to ?? facts(entry).message_id, entry);
    else putLine(entry, isLive);
    refreshSoon();
  }

  function entryDidCome(entry) {
    put(entry, true);
    if (["handler", "status", "assignment", "label"].includes(entry.kind) && isLoaded) reloadSoon();
    closeRanks();
    if (isLoaded && newestSeq > resumeSeq && !fillTimer) fillTimer = setTimeout(fillHoles, 300);
  }

  function closeRanks() {
    while (bySeq.has(resumeSeq + 1)) resumeSeq += 1;
  }

  async function fillHoles() {
    clearTimeout(fillTimer);
    fillTimer = undefined;
    closeRanks();
    if (isFilling || !isLoaded || newestSeq <= resumeSeq) return;
    if (newestSeq - resumeSeq > FILL_ENTRIES_MAX) return restart();
    isFilling = true;
    const mine = round;
    try {
      const { data } = await call("GET", `conversations/${encodeURIComponent(id)}?order=asc&after_seq=${resumeSeq}&limit=${FILL_LIMIT}`);
      if (mine !== round) return;
      const before = resumeSeq;
      for (const entry of data.data) put(entry, true);
      closeRanks();
      // What the service itself leaves out is not waited for.
      const reached = Math.max(before, ...data.data.map((entry) => entry.seq));
      resumeSeq = Math.max(resumeSeq, data.page?.has_more ? reached : newestSeq);
      closeRanks();
      setRecord(data.conversation);
      isFilling = false;
      if (newestSeq > resumeSeq) fillHoles();
    } catch {
      if (mine !== round) return;
      isFilling = false;
      fillTimer ??= setTimeout(fillHoles, 2000);
    }
  }

  function restart() {
    const asked = id;
    id = null;
    link.unfollow(asked, "log");
    open(asked);
  }

  async function loadOlder() {
    if (!hasOlder || isLoadingOlder || !id) return;
    isLoadingOlder = true;
    const mine = round;
    showOlder(t("loadingOlder"));
    try {
      const oldest = Math.min(...bySeq.keys());
      const { data } = await call("GET", `conversations/${encodeURIComponent(id)}?order=desc&before_seq=${oldest}&limit=${PAGE_LIMIT}`);
      if (mine !== round) return;
      hasOlder = Boolean(data.page?.has_more) && data.data.length > 0;
      holdScroll(() => { for (const entry of data.data) put(entry); refresh(); showOlder(); });
      isLoadingOlder = false;
      fillViewport();
    } catch {
      if (mine !== round) return;
      isLoadingOlder = false;
      showOlder(t("olderFailed"), loadOlder);
    }
  }

  function fillViewport() {
    if (hasOlder && log.scrollHeight <= log.clientHeight + 100) loadOlder();
  }

  function showOlder(text = "", retry) {
    const older = byID("older");
    older.replaceChildren(text);
    if (retry) older.append(" ", button("link", t("tryAgain"), retry));
    older.hidden = !text;
  }

  // ---------------------------------------------------------------- Rows

  function insert(row) {
    let index = rows.length;
    while (index > 0 && rows[index - 1].seq > row.seq) index -= 1;
    entries.insertBefore(row.node, rows[index]?.node ?? null);
    rows.splice(index, 0, row);
    refreshSoon();
  }

  function remove(row) {
    if (rows.includes(row)) rows.splice(rows.indexOf(row), 1);
    row.node.remove();
    refreshSoon();
  }

  function putMessage(entry, isLive) {
    if (entry.sender?.type === "bot") settleRuns(entry);
    stopTyping(entry.sender?.id);
    const row = messageRow(entry, entry.seq);
    byMessage.set(entry.id, row);
    insert(row);
    if (!isLive) return;
    const isOwn = entry.sender?.type === "agent" && entry.sender.id === me;
    if (!isOwn) {
      desk.announce(`${entry.visibility === "internal" ? `${t("note")}, ` : ""}${senderName(entry.sender)}: ${maker.line(entry.content)}`);
      if (!isPinned) { unseenCount += 1; refreshNewest(); }
    }
  }

  function messageRow(entry, seq, unsent) {
    const side = sideOf(entry);
    const row = { seq, entry, unsent, side, author: `${side} ${entry.sender?.id}`, time: new Date(entry.created_at) };
    row.box = el("div", { class: "message" });
    row.node = el("li", { class: `row ${side}` }, row.box);
    draw(row);
    return row;
  }

  function draw(row) {
    const { entry, side, unsent } = row;
    const view = currentView(entry, amendments.get(entry.id));
    Object.assign(row.box.dataset, { direction: entry.direction ?? "outbound", state: unsent?.state ?? "sent", side });
    if (!unsent) row.box.dataset.seq = entry.seq;
    const bubble = el("div", { class: `bubble ${bubbleClass(view.content)}` }, ...maker.nodes(view.content, side !== "user"));
    row.stateNode = el("span", { class: "state" });
    const reactions = [...view.reactions].map(([emoji, names]) => el("span", { class: "reaction", title: names.join(", ") }, `${emoji} ${names.length > 1 ? names.length : ""}`));
    row.box.replaceChildren(...[
      el("p", { class: "sender" }, side === "note" ? el("strong", {}, t("noteLabel")) : null, el("bdi", {}, senderName(entry.sender))),
      bubble, reactions.length ? el("p", { class: "reactions", "aria-label": t("reactions") }, ...reactions) : null,
      el("p", { class: "meta" }, desk.timeNode(row.time), view.isEdited ? t("edited") : null, row.stateNode),
    ].filter(Boolean));
    showState(row);
  }

  function amend(messageID, entry) {
    if (!messageID) return;
    const found = amendments.get(messageID) ?? [];
    found.push(entry);
    found.sort((left, right) => left.seq - right.seq);
    amendments.set(messageID, found);
    const row = byMessage.get(messageID);
    if (row) draw(row);
  }

  function showState(row) {
    const { unsent, side, entry } = row;
    row.box.dataset.state = unsent?.state ?? "sent";
    let text = "";
    if (unsent?.state === "failed") text = t("notSent", { reason: unsent.reason });
    else if (unsent) text = link.isReady ? t("sending") : t("willSend");
    else if (side === "own" || side === "agent" || side === "bot") {
      text = entry.status === "failed" ? t("notDelivered") : row.seq <= receipts.read || entry.status === "read" ? t("read")
        : row.seq <= receipts.delivered || entry.status === "delivered" ? t("delivered") : "";
    }
    if (row.shownState === text && row.stateNode.firstChild) return;
    row.shownState = text;
    row.stateNode.replaceChildren(text);
    if (unsent?.state === "failed") {
      row.stateNode.append(" ", button("link", t("tryAgain"), () => desk.reply.retry(unsent)), " ",
        button("link", t("discard"), () => desk.reply.discard(unsent)));
    }
  }

  function putLine(entry, isLive) {
    const text = lineWords(entry);
    if (!text) return;
    const time = new Date(entry.created_at), clock = desk.timeNode(time);
    insert({ seq: entry.seq, entry, time, clock, node: el("li", { class: "row line", "data-kind": entry.kind }, el("p", {}, text, " ", clock)) });
    if (isLive && entry.sender?.id !== me) desk.announce(text);
  }

  // Dates, groups and the mark of what is new follow from the neighbours: one pass sets them all.
  function refresh() {
    isRefreshDue = false;
    const firstUnread = unreadFrom && rows.find((row) => row.side === "user" && row.seq > unreadFrom && row.seq < UNSENT_SEQ);
    rows.forEach((row, index) => {
      const previous = rows[index - 1];
      const startsDay = !previous || previous.time.toDateString() !== row.time.toDateString();
      const startsNew = row === firstUnread && index > 0;
      const heading = [startsDay ? desk.dayLabel(row.time) : "", startsNew ? t("newMessages") : ""].filter(Boolean).join(" · ");
      if (heading && !row.above) row.node.prepend(row.above = el("p", { class: "above" }));
      if (heading) {
        row.above.classList.toggle("new", startsNew);
        if (row.above.textContent !== heading) row.above.replaceChildren(el("span", {}, heading));
      } else if (row.above) { row.above.remove(); row.above = null; }
      const isGrouped = !heading && row.author && previous?.author === row.author && row.time - previous.time < GROUP_WITHIN_MS;
      row.node.classList.toggle("grouped", Boolean(isGrouped));
      if (row.box && row.stateNode) showState(row);
      if (row.clock) {
        row.clock.hidden = Boolean(previous?.clock) && previous.clock.textContent === row.clock.textContent;
        // Who takes over is assigned by the same act: one line says it.
        row.node.hidden = row.entry.kind === "assignment" && previous?.entry?.kind === "handler" && row.seq === previous.seq + 1
          && row.entry.content?.data?.assignee === previous.entry.content?.data?.id;
      }
    });
    if (isPinned) scrollToNewest();
    seeNewest();
  }

  function refreshSoon() {
    if (isRefreshDue) return;
    isRefreshDue = true;
    queueMicrotask(() => { if (isRefreshDue) refresh(); });
  }

  let readRefused = false, readSeq = 0;
  function seeNewest() {
    if (!id || !isLoaded || document.visibilityState !== "visible" || !isPinned) return;
    desk.queue.didSee(id, newestSeq);
    const lastInbound = rows.findLast((row) => row.side === "user")?.seq ?? 0;
    // Who answers tells the user that it was read; who only looks does not.
    if (readRefused || !(lastInbound > readSeq) || record?.assignee !== me) return;
    if (link.isReady && link.transmit({ type: "read", id: `r-${id}`, conversation_id: id, seq: lastInbound })) readSeq = lastInbound;
  }

  // ---------------------------------------------------------------- What goes on at the moment

  function applyRun(frame) {
    let run = runs.get(frame.run_id);
    if (frame.state === "ended") {
      if (run) setTimeout(() => endRun(run), 1500);     // the message that takes its place is on its way
      return;
    }
    if (!run) {
      run = { id: frame.run_id, text: "", index: -1, seq: RUN_SEQ + runs.size, time: new Date(), author: "bot run" };
      run.textNode = el("div", { class: "text", dir: "auto" });
      run.box = el("div", { class: "message streaming", "data-run-id": run.id },
        el("p", { class: "sender" }, t("assistant")), el("div", { class: "bubble" }, run.textNode, el("span", { class: "hidden-text" }, t("writing", { name: t("assistant") }))));
      run.node = el("li", { class: "row bot" }, run.box);
      runs.set(run.id, run);
      insert(run);
    }
    if (frame.state === "started") Object.assign(run, { text: "", index: -1 });
    if (frame.state === "delta" && !(frame.index <= run.index)) {
      run.index = frame.index ?? run.index;
      run.text += frame.text ?? "";
    }
    run.textNode.textContent = run.text || "…";
    if (isPinned) scrollToNewest();
  }

  function endRun(run) {
    if (!runs.delete(run.id)) return;
    remove(run);
  }

  function settleRuns(entry) {
    const named = runs.get(entry.metadata?.run_id ?? entry.run_id);
    for (const run of named ? [named] : [...runs.values()]) endRun(run);
  }

  function typingDidCome(sender, state) {
    stopTyping(sender.id);
    if (state === "start") typists.set(sender.id, { name: senderName(sender), timer: setTimeout(() => stopTyping(sender.id), TYPING_SHOWN_MS) });
    showTyping();
  }

  function stopTyping(senderID) {
    clearTimeout(typists.get(senderID)?.timer);
    if (typists.delete(senderID)) showTyping();
  }

  function showTyping() {
    const typing = byID("typing");
    typing.hidden = typists.size === 0;
    typing.lastElementChild.textContent = typists.size ? t("writing", { name: [...typists.values()].map((item) => item.name).join(", ") }) : "";
    if (isPinned) scrollToNewest();
  }

  // ---------------------------------------------------------------- Scrolling

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
    const anchor = rows.find((row) => row.node.getBoundingClientRect().bottom > top)?.node;
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (anchor && !isPinned) log.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  log.addEventListener("scroll", () => {
    const wasPinned = isPinned;
    isPinned = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    if (isPinned && !wasPinned) { unseenCount = 0; seeNewest(); }
    refreshNewest();
    if (log.scrollTop < 240 && isLoaded) loadOlder();
  }, { passive: true });
  const heights = new ResizeObserver(() => { if (isPinned) log.scrollTop = log.scrollHeight; });
  heights.observe(log);
  heights.observe(byID("content"));
  byID("newest").addEventListener("click", () => { scrollToNewest(); seeNewest(); log.focus({ preventScroll: true }); });
  document.addEventListener("visibilitychange", seeNewest);

  return {
    open, entryDidCome, applyRun, typingDidCome, reload, setRecord, senderName,
    get record() { return record; },
    recordDidAppear(fresh) {
      if (isLoaded && fresh.version > (record?.version ?? 0)) reloadSoon();
      if (isLoaded && fresh.last_seq > newestSeq) { newestSeq = fresh.last_seq; fillTimer ??= setTimeout(fillHoles, 300); }
    },
    gapDidCome(frame) { newestSeq = Math.max(newestSeq, frame.to ?? 0); fillHoles(); },
    didSubscribe(frame) {
      if (frame.last_seq > newestSeq) newestSeq = frame.last_seq;
      if (isLoaded && newestSeq > resumeSeq) fillTimer ??= setTimeout(fillHoles, 300);
    },
    // A run that went on while the socket was away tells its text again; the others are over.
    linkDidReturn() { for (const run of [...runs.values()]) endRun(run); readSeq = 0; refreshSoon(); },
    linkDidLeave() { refreshSoon(); },
    readWasRefused() { readRefused = true; },
    receiptDidCome(frame) {
      if (frame.user_id !== record?.user_id) return;
      receipts.delivered = Math.max(receipts.delivered, frame.delivered_seq || 0);
      receipts.read = Math.max(receipts.read, frame.read_seq || 0);
      refreshSoon();
    },
    presenceDidCome(frame) {
      presence.set(frame.user_id, frame.state);
      if (presence.size > 1000) presence.delete(presence.keys().next().value);
      if (record?.user_id === frame.user_id) showRecord();
    },
    showUnsent(unsent) {
      const row = unsent.row = messageRow({
        direction: "outbound", sender: { type: "agent", id: me }, content: unsent.body.content,
        visibility: unsent.body.visibility, created_at: unsent.createdAt,
      }, UNSENT_SEQ + unsent.order, unsent);
      insert(row);
      scrollToNewest();
    },
    hideUnsent(unsent) { if (unsent.row) { remove(unsent.row); unsent.row = null; } },
    refreshUnsent(unsent) { if (unsent.row) showState(unsent.row); },
  };
}
