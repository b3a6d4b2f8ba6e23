// What is known about the open conversation, and what an agent changes of it.
//
// Every change says which version it was made from (If-Match). When somebody else was faster, nothing
// is overwritten: the conversation is read again, and what they changed is told in words.

const LABELS_MAX = 20;
const LABEL_BYTES_MAX = 64;

function startDetails(desk) {
  const { t, me, byID } = desk;
  const root = byID("details");
  let record = null, shown = "", isBusy = false;

  // ---------------------------------------------------------------- Changing

  async function change(fields, done) {
    if (!record || isBusy) return false;
    const before = record, path = `conversations/${encodeURIComponent(record.id)}`;
    isBusy = true;
    root.setAttribute("aria-busy", "true");
    try {
      const { data } = await desk.call("PATCH", path, { body: fields, headers: { "If-Match": `"${before.version}"` } });
      desk.clearNotice("change");
      desk.log.setRecord(data);
      if (done) desk.announce(done);
      return true;
    } catch (fault) {
      if (fault.status === 412) await tellConflict(before);
      else if (fault.status !== 401) {
        desk.notice(fault.status === 0 ? t("changeOffline") : t("changeFailed", { reason: fault.message }), {
          about: "change", label: t("tryAgain"), action: () => { desk.clearNotice("change"); if (record?.id === before.id) change(fields, done); },
        });
      }
      return false;
    } finally {
      isBusy = false;
      root.removeAttribute("aria-busy");
      desk.queue.refreshSoon();
    }
  }

  async function tellConflict(before) {
    let now;
    try { now = await desk.log.reload(); } catch { now = null; }
    if (desk.openID !== before.id) return;
    const differences = now ? differencesOf(before, now) : [];
    desk.notice(t("conflict"), { about: "change", lines: differences.length ? differences : [t("conflictUnknown")] });
  }

  function differencesOf(before, now) {
    const who = ({ handler, assignee }) => handler?.type === "bot" ? t("assistant") : assignee === me ? t("you") : assignee ?? t("unassigned");
    const rows = [
      [t("answering"), who(before), who(now)],
      [t("status"), t(`status_${before.status}`), t(`status_${now.status}`)],
      [t("priority"), t(`priority_${before.priority}`), t(`priority_${now.priority}`)],
      [t("labels"), before.labels.join(", ") || "–", now.labels.join(", ") || "–"],
      [t("attributes"), JSON.stringify(before.attributes), JSON.stringify(now.attributes)],
    ];
    return rows.filter(([, old, fresh]) => old !== fresh).map(([name, old, fresh]) => t("difference", { name, old, fresh }));
  }

  const takeOver = () => change({ handler: { type: "human", id: me }, assignee: me }, t("didTakeOver", { name: t("you") }));
  const handBack = () => change({ handler: { type: "bot" }, assignee: null }, t("botAnswers"));
  const setStatus = (status) => change({ status }, t(`status_${status}`));
  const toggleClosed = () => setStatus(record?.status === "closed" ? "open" : "closed");

  async function addLabel(input) {
    const name = input.value.trim();
    if (!name || !record) return;
    const problem = new TextEncoder().encode(name).length > LABEL_BYTES_MAX ? t("labelTooLong", { n: LABEL_BYTES_MAX })
      : record.labels.length >= LABELS_MAX ? t("labelsTooMany", { n: LABELS_MAX }) : "";
    if (problem) return desk.notice(problem, { about: "change" });
    input.value = "";
    if (record.labels.includes(name)) return;
    if (!await change({ labels: [...record.labels, name] }, t("labelAdded", { label: name })) && !input.value) input.value = name;
    byID("label-input")?.focus();
  }

  async function removeLabel(name) {
    await change({ labels: record.labels.filter((other) => other !== name) }, t("labelRemoved", { label: name }));
    byID("label-input")?.focus();
  }

  // ---------------------------------------------------------------- Showing

  const section = (heading, ...children) => el("section", {}, el("h2", {}, heading), ...children);

  // One of few: buttons, because a list would change the conversation at each arrow key.
  function choice(name, values, current, press) {
    return el("div", { class: "segments", role: "group", "aria-label": t(name) }, ...values.map((value) => {
      const node = button("segment", t(`${name}_${value}`), () => { if (value !== current) press(value); });
      node.setAttribute("aria-pressed", String(value === current));
      node.dataset.value = value;
      return node;
    }));
  }

  function labelNodes() {
    const list = el("ul", { class: "labels", role: "list", "aria-label": t("labels") }, ...record.labels.map((name) => {
      const remove = el("button", { type: "button", class: "icon small", "aria-label": t("removeLabel", { label: name }) }, cross(""));
      remove.addEventListener("click", () => removeLabel(name));
      const filter = button("tag label", name, () => desk.queue.filterBy(name));
      filter.title = t("showLabel", { label: name });
      return el("li", {}, filter, remove);
    }));
    const input = el("input", { id: "label-input", type: "text", placeholder: t("addLabel"), "aria-label": t("addLabel"), autocomplete: "off", maxlength: 64, list: "known-labels" });
    const form = el("form", { class: "add", "aria-label": t("addLabel") }, input, el("button", { type: "submit", class: "plain small" }, t("add")),
      el("datalist", { id: "known-labels" }, ...[...desk.queue.labels()].filter((name) => !record.labels.includes(name)).map((name) => el("option", { value: name }))));
    form.addEventListener("submit", (event) => { event.preventDefault(); addLabel(input); });
    return record.labels.length ? [list, form] : [form];
  }

  function attributeNodes() {
    const items = Object.entries(record.attributes ?? {});
    if (!items.length) return [el("p", { class: "quiet" }, t("noAttributes"))];
    return [el("dl", { class: "facts" }, ...items.flatMap(([name, value]) => [
      el("dt", { dir: "auto" }, name), el("dd", { dir: "auto" }, typeof value === "string" ? value : JSON.stringify(value))]))];
  }

  function factNodes() {
    const time = (text) => { const when = new Date(text); return el("time", { datetime: text }, desk.fullDate(when)); };
    return el("dl", { class: "facts" },
      el("dt", {}, t("user")), el("dd", {}, el("bdi", {}, record.user_id)),
      el("dt", {}, t("channel")), el("dd", {}, record.channel),
      el("dt", {}, t("since")), el("dd", {}, time(record.created_at)),
      el("dt", {}, t("lastChange")), el("dd", {}, time(record.updated_at)),
      el("dt", {}, t("number")), el("dd", {}, el("code", { dir: "ltr" }, record.id)));
  }

  function answeringNode() {
    const isHuman = record.handler?.type === "human";
    const words = !isHuman ? t("botAnswers") : record.assignee === me ? t("youAnswer")
      : record.assignee ? t("otherAnswers", { name: record.assignee }) : t("nobodyAnswers");
    const actions = [];
    if (isHuman) actions.push(button("plain", t("handBack"), handBack));
    if (isHuman && record.assignee) actions.push(button("plain", t("release"), () => change({ assignee: null, handler: { type: "human" } }, t("nobodyAnswers"))));
    return [el("p", {}, words), actions.length ? el("div", { class: "actions" }, ...actions) : null].filter(Boolean);
  }

  function show(fresh) {
    const isSame = record && fresh && record.id === fresh.id;
    record = fresh;
    const state = JSON.stringify(fresh);
    if (state === shown) return;
    shown = state;
    if (!fresh) return root.replaceChildren();
    // What has the focus is made anew: it is found again by its place among its kind.
    const focused = isSame && root.contains(document.activeElement) ? document.activeElement : null;
    const draft = isSame ? byID("label-input")?.value ?? "" : "";
    const path = focused && (focused.id ? `#${focused.id}` : focused.dataset.value ? `[data-value="${focused.dataset.value}"]` : "#label-input");
    root.replaceChildren(
      el("header", { class: "about" }, el("h2", {}, t("details")), el("button", { type: "button", id: "close-details", class: "icon", "aria-label": t("closeDetails") }, cross(""))),
      section(t("answering"), ...answeringNode()),
      section(t("status"), choice("status", STATUSES, record.status, setStatus)),
      section(t("priority"), choice("priority", PRIORITIES, record.priority, (priority) => change({ priority }, t(`priority_${priority}`)))),
      section(t("labels"), ...labelNodes()),
      section(t("attributes"), ...attributeNodes()),
      section(t("facts"), factNodes()));
    if (draft) byID("label-input").value = draft;
    byID("close-details").addEventListener("click", () => desk.showDetails(false));
    if (path) (root.querySelector(path) ?? byID("label-input")).focus({ preventScroll: true });
  }

  byID("take").addEventListener("click", async () => { if (await takeOver()) { desk.reply.setMode("reply"); } });
  byID("give").addEventListener("click", async () => { await handBack(); byID("take").focus(); });
  byID("close").addEventListener("click", toggleClosed);

  return { show, takeOver, handBack, toggleClosed };
}
