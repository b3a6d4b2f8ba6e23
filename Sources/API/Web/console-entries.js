// What an entry of the log is for an agent: whose it is, what it says in one line, and what a message
// has become after the edits, redactions and reactions that came later. Nothing here has state.

function entryReader({ t, me }) {
  const facts = (entry) => ({ ...entry.metadata, ...entry.content, ...entry.content?.data });

  function sideOf(entry) {
    if (entry.visibility === "internal") return "note";
    if (entry.direction === "inbound") return "user";
    return entry.sender?.type === "agent" ? (entry.sender.id === me ? "own" : "agent") : "bot";
  }

  function senderName({ type, id: name } = {}) {
    if (type === "user") return name ?? t("user");
    if (type === "agent") return name === me ? t("you") : name ?? t("agent");
    return type === "system" ? t("system") : t("assistant");
  }

  // What a message is after all that was said about it.
  function currentView(entry, amended) {
    const isRedacted = entry.content?.type === "event" && entry.content.name === "redacted";
    const view = { content: isRedacted ? { type: "removed" } : entry.content ?? { type: "removed" }, isEdited: Boolean(entry.edited_at), reactions: new Map() };
    for (const amendment of amended ?? []) {
      const said = facts(amendment);
      if (amendment.kind === "redaction") Object.assign(view, { content: { type: "removed" }, isEdited: false, reactions: new Map() });
      else if (amendment.kind === "edit") {
        const edited = said.content ?? amendment.content;
        if (view.content.type === "removed") continue;
        Object.assign(view, edited?.name === "redacted" ? { content: { type: "removed" } } : { content: edited, isEdited: true });
      } else {
        const name = senderName(amendment.sender);
        // One sender has one reaction; an empty one takes it back.
        for (const [emoji, names] of view.reactions) {
          const left = names.filter((other) => other !== name);
          if (left.length) view.reactions.set(emoji, left); else view.reactions.delete(emoji);
        }
        const emoji = said.removed ? "" : String(said.emoji ?? "").slice(0, 16);
        if (emoji) view.reactions.set(emoji, [...view.reactions.get(emoji) ?? [], name]);
      }
    }
    return view;
  }

  function lineWords(entry) {
    const name = senderName(entry.sender), said = entry.content?.data ?? {};
    switch (entry.content?.name ?? entry.kind) {
      case "handler": {
        if (said.type === "bot") return entry.sender?.type === "agent" ? t("didHandBack", { name }) : t("botAnswers");
        if (!said.id) return entry.sender?.type === "agent" ? t("didAskHuman", { name }) : t("botAskedHuman");
        return t("didTakeOver", { name: said.id === me ? t("you") : said.id });
      }
      case "status": return STATUSES.includes(said.status) ? t(`did_${said.status}`, { name }) : null;
      case "priority": return PRIORITIES.includes(said.priority) ? t("didPriority", { name, priority: t(`priority_${said.priority}`) }) : null;
      case "assignment": return said.assignee && said.assignee === entry.sender?.id ? t("didTake", { name }) : said.assignee ? t("didAssign", { name, to: said.assignee === me ? t("you") : said.assignee }) : t("didUnassign", { name });
      case "label": return said.labels?.length ? t("didLabel", { name, labels: said.labels.join(", ") }) : t("didUnlabel", { name });
      case "attributes": return t("didAttributes", { name });
      default: return entry.kind === "message" ? t("eventLine", { name, event: String(entry.content?.name ?? "") }) : null;
    }
  }

  return { facts, sideOf, senderName, currentView, lineWords };
}
