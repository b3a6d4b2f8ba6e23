// The queue: which conversations there are, and what is new in them.
//
// The list is asked for again every few seconds, and at once after a change of our own; what happens
// inside of the conversations that are shown comes over the socket, which follows each of them. A row
// whose conversation no longer belongs on the tab leaves it at once, whoever changed it.

const POLL_MS = 3000;
const POLL_FAILED_MS = 8000;
const WAITING_EVERY_MS = 10000;     // how often the waiting are counted while another tab is shown
const PAGE_STEP = 50;
const ROWS_MAX = 200;               // the server's largest page
const FOLLOWED_MAX = 100;           // of the 256 conversations that one socket may follow
const PREVIEW_ENTRIES = 10;
const SEEN_MAX = 500;
const QUEUE_TYPING_MS = 7000;

function startQueue(desk) {
  const { t, me, byID, call, link, local } = desk;
  const list = byID("queue"), note = byID("queue-note");
  const rows = new Map();           // conversation id → {conversation, node, parts, shown}
  const previews = new Map();       // conversation id → {seq, line, isOurs, isNote, inboundSeq}
  const typists = new Map();        // conversation id → {name, timer}
  const unsupported = new Set();    // filters that this server does not know
  const seen = new Map(local.read("seen") ?? []);
  let tab = TABS.includes(local.read("tab")) ? local.read("tab") : "waiting";
  let words = "", label = "", limit = PAGE_STEP, hasMore = false, isLoaded = false;
  let tags = new Map();             // query → ETag and the answer it stood on
  let pollTimer, waitingAt = 0, round = 0, knownWaiting = null, refusedBecause = "";

  // ---------------------------------------------------------------- Asking

  function queries() {
    const narrow = { ...words && { q: words }, ...label && { label } };
    const ask = (fields, order = "desc") => ({ ...fields, ...narrow, order, limit });
    switch (tab) {
      // Those who have waited longest come first, on the screen as on the page.
      case "waiting": return [ask({ status: "open", handler: "human", assignee: "" }, unsupported.has("assignee") ? "desc" : "asc")];
      case "mine": return [ask({ status: "open", assignee: me })];
      case "held": return [ask({ status: "pending" }), ask({ status: "snoozed" })];
      default: return [ask({ status: tab })];
    }
  }

  const isWaiting = ({ status, handler, assignee }) => status === "open" && handler?.type === "human" && !assignee;

  // What the server does not filter (yet), or only nearly, is filtered here.
  function fits(conversation) {
    const { status, assignee } = conversation;
    const isOnTab = {
      waiting: isWaiting(conversation),
      mine: status === "open" && assignee === me,
      open: status === "open", held: status === "pending" || status === "snoozed", closed: status === "closed",
    }[tab];
    if (!isOnTab || label && !conversation.labels.includes(label)) return false;
    if (!words || !unsupported.has("q")) return true;
    const text = [conversation.user_id, ...conversation.labels, previews.get(conversation.id)?.line ?? ""].join(" ");
    return text.toLowerCase().includes(words.toLowerCase());
  }

  async function fetchList(query) {
    const asked = Object.entries(query).filter(([name]) => !unsupported.has(name));
    const address = `conversations?${new URLSearchParams(asked)}`;
    const known = tags.get(address);
    try {
      const answer = await call("GET", address, known ? { headers: { "If-None-Match": known.tag } } : {});
      if (answer.status === 304) return known.data;
      if (answer.tag) tags.set(address, { tag: answer.tag, data: answer.data });
      return answer.data;
    } catch (fault) {
      if (fault.status !== 422) throw fault;
      const named = fault.errors.map((item) => String(item.pointer ?? "").slice(1)).filter((name) => name in query && !unsupported.has(name));
      if (!named.length) throw fault;
      // The filter is left out and what it would have done is done here, as far as the page reaches.
      for (const name of named) {
        if (fault.errors.some((item) => item.code === "unsupported" && item.pointer === `/${name}`)) unsupported.add(name);
        else refusedBecause = fault.errors.find((item) => item.pointer === `/${name}`)?.detail || fault.message;
      }
      return fetchList(Object.fromEntries(Object.entries(query).filter(([name]) => !named.includes(name))));
    }
  }

  async function refresh() {
    clearTimeout(pollTimer);
    const mine = ++round;
    let waitMs = POLL_MS;
    try {
      refusedBecause = "";
      const answers = await Promise.all(queries().map(fetchList));
      if (mine !== round) return;
      isLoaded = true;
      hasMore = answers.some((answer) => answer.page?.has_more);
      apply(answers.flatMap((answer) => answer.data ?? []));
      noteFilters();
      await countWaiting();
    } catch (fault) {
      if (mine !== round || fault.status === 401) return;
      waitMs = Math.max(fault.retryAfterMs ?? 0, POLL_FAILED_MS);
      say(fault.status === 0 ? t("queueOffline") : fault.status === 429 ? t("queueLimited") : t("queueFailed", { reason: fault.message }), true);
    }
    if (mine === round && document.visibilityState === "visible") pollTimer = setTimeout(refresh, waitMs);
  }

  function refreshSoon(delayMs = 150) {
    round += 1;                     // an answer that is on its way is from before
    clearTimeout(pollTimer);
    pollTimer = setTimeout(refresh, delayMs);
  }

  function noteFilters() {
    const asked = queries()[0];
    const missing = ["q", "label", "assignee", "handler"].filter((name) => name in asked && unsupported.has(name));
    if (refusedBecause) say(refusedBecause, true);
    else if (missing.length) say(t("filterUnsupported", { names: missing.map((name) => t(`filter_${name}`)).join(", "), n: limit }));
    else say(hasMore && limit >= ROWS_MAX ? t("queueCut", { n: ROWS_MAX }) : "");
  }

  function say(text, isFault = false) {
    note.hidden = !text;
    note.classList.toggle("problem", isFault);
    if (note.textContent !== text) note.textContent = text;
  }

  // ---------------------------------------------------------------- The waiting, whatever is shown

  async function countWaiting() {
    if (tab === "waiting" && !words && !label) return tellWaiting([...rows.keys()]);
    if (Date.now() - waitingAt < WAITING_EVERY_MS) return;
    waitingAt = Date.now();
    const answer = await fetchList({ status: "open", handler: "human", assignee: "", order: "asc", limit: PAGE_STEP });
    tellWaiting((answer.data ?? []).filter((item) => isWaiting(item)).map((item) => item.id));
  }

  function tellWaiting(ids) {
    const added = knownWaiting ? ids.filter((id) => !knownWaiting.has(id)) : [];
    knownWaiting = new Set(ids);
    const count = byID("tab-waiting").querySelector(".count");
    count.hidden = ids.length === 0;
    count.textContent = ids.length >= PAGE_STEP ? `${PAGE_STEP}+` : String(ids.length);
    document.title = ids.length ? `(${count.textContent}) ${t("title")}` : t("title");
    if (added.length) desk.announce(t("nowWaiting", { n: added.length }));
  }

  // ---------------------------------------------------------------- Rows

  function apply(conversations) {
    const found = new Map(conversations.filter(fits).map((item) => [item.id, item]));
    for (const [id, row] of rows) if (!found.has(id)) removeRow(id, row);
    for (const [id, conversation] of found) {
      const row = rows.get(id);
      if (!row) addRow(conversation);
      else if (!(row.conversation.version > conversation.version)) row.conversation = mergeRecord(row.conversation, conversation);
    }
    arrange();
    // The open conversation may have changed while the socket was away.
    const open = found.get(desk.openID);
    if (open) desk.log.recordDidAppear(open);
  }

  // A list that was asked for before the newest entry came must not take it back.
  function mergeRecord(old, fresh) {
    return old.last_seq > fresh.last_seq ? { ...fresh, last_seq: old.last_seq, updated_at: old.updated_at } : fresh;
  }

  function addRow(conversation) {
    const { id } = conversation;
    const parts = {
      name: el("bdi"), time: el("time"), line: el("p", { class: "line", dir: "auto" }),
      tags: el("p", { class: "tags" }), mark: el("span", { class: "unread" }, el("span", { class: "hidden-text" }, t("unreadMark"))),
    };
    const anchor = el("a", { class: "row-link", href: `#${id}`, "data-id": id },
      el("p", { class: "first" }, parts.mark, el("span", { class: "name" }, parts.name), parts.time), parts.line, parts.tags);
    rows.set(id, { conversation, node: el("li", {}, anchor), anchor, parts, shown: "" });
    followSome();
  }

  function removeRow(id, row) {
    // Whoever stood on the row goes on from its neighbour, and not from the top of the page.
    if (row.node.contains(document.activeElement)) {
      ((row.node.nextElementSibling ?? row.node.previousElementSibling)?.querySelector(".row-link") ?? byID("queue-panel")).focus();
    }
    row.node.remove();
    rows.delete(id);
    link.unfollow(id, "queue");
    followSome();
  }

  function followSome() {
    let count = 0;
    for (const [id, row] of rows) {
      if (++count > FOLLOWED_MAX) break;
      if (row.isFollowed) continue;
      row.isFollowed = true;
      link.follow(id, "queue", () => {
        const known = previews.get(id)?.seq ?? 0;
        return Math.max(known, row.conversation.last_seq - PREVIEW_ENTRIES);
      });
    }
  }

  const rank = (conversation) => PRIORITIES.length - PRIORITIES.indexOf(conversation.priority);

  function arrange() {
    const ordered = [...rows.values()].sort(({ conversation: left }, { conversation: right }) =>
      tab === "waiting" ? rank(left) - rank(right) || left.created_at.localeCompare(right.created_at)
        : right.updated_at.localeCompare(left.updated_at) || right.id.localeCompare(left.id));
    // A node that is in its place already is not touched: moving it would drop the focus.
    let at = list.firstElementChild;
    for (const row of ordered) {
      if (row.node === at) at = at.nextElementSibling;
      else list.insertBefore(row.node, at);
      show(row);
    }
    byID("more").hidden = !hasMore || limit >= ROWS_MAX;
    showEmpty();
  }

  // What the assistant answers is nobody's to read; the rest is unread until somebody looked at it here.
  function isUnread({ id, handler, status }) {
    if (handler?.type !== "human" || status === "closed") return false;
    return !seen.has(id) || (previews.get(id)?.inboundSeq ?? 0) > seen.get(id);
  }

  function show(row) {
    const { conversation, parts, anchor } = row;
    const preview = previews.get(conversation.id), typist = typists.get(conversation.id);
    const isOpen = desk.openID === conversation.id;
    const isNew = !isOpen && isUnread(conversation);
    const when = new Date(conversation.updated_at);
    const state = JSON.stringify([conversation, preview, typist?.name, isOpen, isNew, ageLabel(when)]);
    if (row.shown === state) return;
    row.shown = state;
    parts.name.textContent = conversation.user_id;
    parts.time.textContent = ageLabel(when);
    parts.time.dateTime = conversation.updated_at;
    parts.time.title = desk.fullDate(when);
    parts.mark.hidden = !isNew;
    parts.line.classList.toggle("typing", Boolean(typist));
    parts.line.classList.toggle("note", Boolean(preview?.isNote) && !typist);
    parts.line.textContent = typist ? t("writing", { name: typist.name })
      : preview ? (preview.isNote ? `${t("note")}: ` : preview.isOurs ? "↩ " : "") + preview.line : conversation.last_seq > 0 ? "…" : t("noMessages");
    parts.tags.replaceChildren(...tagNodes(conversation));
    if (isOpen) anchor.setAttribute("aria-current", "true"); else anchor.removeAttribute("aria-current");
  }

  function tagNodes({ priority, status, handler, assignee, labels }) {
    const tag = (kind, text) => el("span", { class: `tag ${kind}`, dir: "auto" }, text);
    const found = [];
    if (priority !== "normal") found.push(tag(`priority ${priority}`, t(`priority_${priority}`)));
    if (tab === "held") found.push(tag("state", t(`status_${status}`)));
    if (tab === "mine" || tab === "waiting") { /* The tab says it. */ }
    else if (assignee) found.push(tag("who", assignee === me ? t("you") : assignee));
    else if (handler?.type === "human") found.push(tag("who waits", t("unassigned")));
    else if (tab !== "closed") found.push(tag("who", t("assistant")));
    found.push(...labels.slice(0, 3).map((name) => tag("label", name)));
    if (labels.length > 3) found.push(tag("label", `+${labels.length - 3}`));
    return found;
  }

  function ageLabel(when) {
    const minutes = Math.max(0, Math.floor((Date.now() - when) / 60000));
    if (!Number.isFinite(minutes)) return "";
    if (minutes < 1) return t("now");
    if (minutes < 60) return desk.age(minutes, "minute");
    return minutes < 1440 ? desk.age(Math.floor(minutes / 60), "hour") : desk.age(Math.floor(minutes / 1440), "day");
  }

  function showEmpty() {
    const empty = byID("queue-empty");
    empty.hidden = rows.size > 0 || !isLoaded;
    if (empty.hidden) return;
    const [title, hint] = words || label ? [t("nothingFound"), t("nothingFoundHint")] : [t(`empty_${tab}`), t(`emptyHint_${tab}`)];
    if (empty.dataset.said === title) return;
    empty.dataset.said = title;
    empty.replaceChildren(el("h2", {}, title), el("p", {}, hint));
  }

  // ---------------------------------------------------------------- What comes over the socket

  function entryDidCome(id, entry) {
    const row = rows.get(id);
    const isMessage = (entry.kind ?? "message") === "message" && entry.content?.type !== "event";
    const old = previews.get(id);
    if (isMessage) {
      stopTyping(id, entry.sender?.id);
      const isInbound = entry.direction === "inbound";
      if (!(old?.seq >= entry.seq)) {
        previews.delete(id);
        previews.set(id, {
          seq: entry.seq, line: desk.content.line(entry.content), isOurs: !isInbound, isNote: entry.visibility === "internal",
          inboundSeq: isInbound ? entry.seq : old?.inboundSeq ?? 0,
        });
        while (previews.size > SEEN_MAX) previews.delete(previews.keys().next().value);
      }
    }
    if (!row) return;
    const isNewer = entry.seq > row.conversation.last_seq;
    if (isNewer) {
      row.conversation = { ...row.conversation, last_seq: entry.seq, updated_at: entry.created_at ?? row.conversation.updated_at };
    }
    if (["handler", "status", "assignment", "label"].includes(entry.kind) && isNewer) refreshSoon();
    arrange();
  }

  function typingDidCome(frame, name) {
    const id = frame.conversation_id;
    stopTyping(id);
    if (frame.state === "start") typists.set(id, { name, id: frame.sender?.id, timer: setTimeout(() => stopTyping(id), QUEUE_TYPING_MS) });
    if (rows.has(id)) show(rows.get(id));
  }

  function stopTyping(id, senderID) {
    const typist = typists.get(id);
    if (!typist || senderID && typist.id !== senderID) return;
    clearTimeout(typist.timer);
    typists.delete(id);
    if (rows.has(id)) show(rows.get(id));
  }

  // ---------------------------------------------------------------- Choosing

  function select(name, { focus = false } = {}) {
    tab = name;
    local.write("tab", tab);
    limit = PAGE_STEP;
    showTabs();
    if (focus) byID(`tab-${name}`).focus();
    restart();
  }

  function restart() {
    for (const [id, row] of [...rows]) removeRow(id, row);
    isLoaded = false;
    hasMore = false;
    tags = new Map();
    arrange();
    refreshSoon(0);
  }

  function showTabs() {
    for (const name of TABS) {
      const node = byID(`tab-${name}`);
      node.setAttribute("aria-selected", String(name === tab));
      node.tabIndex = name === tab ? 0 : -1;
      if (name === tab) node.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    byID("queue-panel").setAttribute("aria-labelledby", `tab-${tab}`);
  }

  function filterBy(name) {
    label = name;
    const filter = byID("filter");
    filter.hidden = !name;
    filter.replaceChildren();
    if (name) {
      filter.append(el("span", {}, t("filteredBy"), " ", el("span", { class: "tag label", dir: "auto" }, name)),
        button("plain small", t("clear"), () => { filterBy(""); byID("search").focus(); }));
    }
    restart();
  }

  let searchTimer;
  byID("search").addEventListener("input", ({ target }) => {
    clearTimeout(searchTimer);
    searchTimer = setTimeout(() => {
      if (words === target.value.trim()) return;
      words = target.value.trim();
      restart();
    }, 300);
  });
  for (const node of document.querySelectorAll(".tabs [role=tab]")) {
    node.addEventListener("click", () => select(node.dataset.tab));
    node.addEventListener("keydown", (event) => {
      const isBackwards = document.documentElement.dir === "rtl";
      const step = { ArrowRight: isBackwards ? -1 : 1, ArrowLeft: isBackwards ? 1 : -1 }[event.key];
      const at = event.key === "Home" ? 0 : event.key === "End" ? TABS.length - 1
        : step && (TABS.indexOf(tab) + step + TABS.length) % TABS.length;
      if (at === undefined) return;
      event.preventDefault();
      select(TABS[at], { focus: true });
    });
  }
  byID("more").addEventListener("click", () => { limit = Math.min(ROWS_MAX, limit + PAGE_STEP); refreshSoon(0); });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refreshSoon(0); else clearTimeout(pollTimer);
  });
  setInterval(() => { for (const row of rows.values()) show(row); }, 30000);
  showTabs();

  return {
    refreshSoon, entryDidCome, typingDidCome, filterBy,
    selectAt: (place) => { if (TABS[place]) select(TABS[place], { focus: true }); },
    refreshRows: () => { for (const row of rows.values()) show(row); },
    labels: () => new Set([...rows.values()].flatMap((row) => row.conversation.labels)),
    // A record that somebody has newer than the list.
    recordDidChange(conversation) {
      const row = rows.get(conversation.id);
      if (!row || row.conversation.version > conversation.version) return;
      row.conversation = mergeRecord(row.conversation, conversation);
      if (!fits(row.conversation)) removeRow(conversation.id, row);
      arrange();
      if (knownWaiting?.has(conversation.id) && !isWaiting(conversation)) tellWaiting([...knownWaiting].filter((id) => id !== conversation.id));
    },
    didSee(id, seq) {
      if (!(seq > (seen.get(id) ?? 0))) return;
      seen.delete(id);
      seen.set(id, seq);
      while (seen.size > SEEN_MAX) seen.delete(seen.keys().next().value);
      local.write("seen", [...seen]);
    },
    seenSeq: (id) => seen.get(id) ?? 0,
    // Moves the focus by one row; from outside of the list it starts at the open one.
    step(by) {
      const anchors = [...list.querySelectorAll(".row-link")];
      const at = anchors.indexOf(document.activeElement);
      const from = at >= 0 ? at : anchors.findIndex((anchor) => anchor.dataset.id === desk.openID);
      const next = anchors[Math.max(0, Math.min(anchors.length - 1, from + by))];
      next?.focus();
      next?.scrollIntoView({ block: "nearest" });
    },
    focus: () => (list.querySelector("[aria-current]") ?? list.querySelector(".row-link") ?? byID(`tab-${tab}`)).focus(),
  };
}
