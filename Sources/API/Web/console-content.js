// What a message holds, as the agent sees it: everything is text or a node made here, and what the
// user could press is shown but cannot be pressed. A picture at an address that the user gave is
// asked for only when the agent wants it, so that nobody learns who reads and when.

function contentMaker(t, call, token) {
  const choices = (options = []) => options.length === 0 ? null
    : el("ul", { class: "choices", "aria-label": t("choices") }, ...options.map((option) => {
      const title = String(option.title ?? option.id ?? "");
      const url = option.url ? safeURL(option.url) : null;
      const shown = url ? outerLink(url, {}, title) : el("span", {}, title);
      return el("li", { dir: "auto" }, shown, option.description ? el("small", {}, String(option.description)) : null);
    }));

  const caption = (content) => content.caption ? textNode(content.caption, "text caption") : null;

  const list = (content) => el("div", { class: "list" },
    content.button ? el("p", { class: "small quiet", dir: "auto" }, String(content.button)) : null,
    ...(content.sections ?? []).map((section) => el("div", {},
      section.title ? el("h3", { dir: "auto" }, String(section.title)) : null, choices(section.rows ?? section.items))));

  const card = (item) => el("li", {},
    el("strong", { dir: "auto" }, String(item.title ?? "")),
    item.subtitle ? el("p", { dir: "auto" }, String(item.subtitle)) : null, choices(item.buttons));

  // Stored media need the token, which an element cannot send: they are fetched into a blob.
  function media(content, isTrusted, make) {
    const box = el("div", { class: "media" });
    const url = content.url ? safeURL(content.url) : null;
    const failed = () => box.replaceChildren(el("p", { class: "quiet" }, t("notLoaded")));
    if (url) {
      const show = () => box.replaceChildren(make(url, failed));
      if (isTrusted) show();
      else {
        box.append(button("plain", t("showMedia", { host: new URL(url).host }), show),
          el("p", { class: "small" }, outerLink(url, { dir: "ltr" }, url)));
      }
    } else if (content.media_id) {
      fetch(`/api/v2/media/${encodeURIComponent(content.media_id)}`, { headers: { Authorization: `Bearer ${token}` }, credentials: "omit" })
        .then((response) => response.ok ? response.blob() : Promise.reject(response.status))
        .then((blob) => box.replaceChildren(make(URL.createObjectURL(blob), failed)))
        .catch(failed);
    } else failed();
    return box;
  }

  const watched = (node, failed) => { node.addEventListener("error", failed, { once: true }); return node; };

  const file = (content, url) => {
    const link = attachment("📄", content.filename || t("file"), [content.mime_type, sizeLabel(content.size)].filter(Boolean).join(", "));
    link.href = url;
    // Saved and never opened: a file that is a page would run in this origin.
    link.download = content.filename || "";
    return link;
  };

  const makers = {
    text: (content) => [textNode(content.text)],
    reply: (content) => [textNode(content.title ?? content.id)],
    quick_replies: (content) => [textNode(content.text), choices(content.replies)],
    buttons: (content) => [textNode(content.text), choices(content.buttons)],
    list: (content) => [textNode(content.text), list(content)],
    carousel: (content) => [el("ul", { class: "carousel", "aria-label": t("cards") }, ...(content.cards ?? []).map(card))],
    template: (content) => [textNode(`${t("template")}: ${content.name ?? ""}`)],
    image: (content, isTrusted) => [media(content, isTrusted, (url, failed) => watched(el("img", {
      src: url, alt: content.caption || content.filename || t("image"), width: content.width, height: content.height,
      loading: "lazy", referrerpolicy: "no-referrer",
    }), failed)), caption(content)],
    video: (content, isTrusted) => [media(content, isTrusted, (url, failed) =>
      watched(el("video", { src: url, controls: "", playsinline: "" }), failed)), caption(content)],
    audio: (content, isTrusted) => [media(content, isTrusted, (url, failed) =>
      watched(el("audio", { src: url, controls: "" }), failed)), caption(content)],
    file: (content) => [content.url && safeURL(content.url) ? file(content, safeURL(content.url))
      : media(content, true, (url) => file(content, url)), caption(content)],
    location(content) {
      const latitude = Number(content.latitude), longitude = Number(content.longitude);
      const node = attachment("📍", content.name || t("location"), content.address || `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`);
      node.href = `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}#map=16/${latitude}/${longitude}`;
      return [node];
    },
    // Its fields are not fixed: each is shown as it came.
    contact: (content) => [el("p", { dir: "auto" }, `👤 ${contactName(content)}`),
      ...Object.entries(content).filter(([name]) => name !== "type" && name !== "name").slice(0, 20).map(([name, value]) =>
        el("p", { class: "small", dir: "auto" }, `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`))],
    removed: () => [el("div", { class: "text" }, t("removed"))],
  };

  function contactName({ name }) {
    return typeof name === "string" ? name : String(name?.formatted_name ?? t("contact"));
  }

  const unknown = (content) => [textNode(content?.text || content?.title || t("notShown", { type: String(content?.type ?? "?") }))];

  return {
    // `isTrusted`: from our side, so that its pictures are shown at once. Whatever a field holds that
    // it should not, one message is not shown and the others are.
    nodes(content, isTrusted) {
      const make = Object.hasOwn(makers, content?.type) ? makers[content.type] : unknown;
      try { return make(content, isTrusted).filter(Boolean); } catch { return unknown({ type: content.type }); }
    },
    // One line for the queue and for screen readers.
    line(given) {
      const content = given ?? { type: "removed" };
      if (content.type === "removed") return t("removed");
      if (content.type === "event") return content.name === "redacted" ? t("removed") : String(content.name ?? "");
      if (content.type === "contact") return contactName(content);
      const named = { image: "image", video: "video", audio: "audio", file: "file", location: "location" }[content.type];
      try {
        const text = String(plainText({ ...content, replies: undefined, buttons: undefined }, "") ?? "");
        return named ? [t(named), text === content.type ? "" : text].filter(Boolean).join(": ") : text;
      } catch { return String(content.type ?? ""); }
    },
  };
}
