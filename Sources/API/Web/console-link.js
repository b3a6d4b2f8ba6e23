// What goes over the wire: requests with the agent's token, and one WebSocket that comes back by
// itself and follows the same conversations again, each from the entry after the last one known.

const CHAT = "/api/v2/chat/";
const REQUEST_TIMEOUT_MS = 15000;
const CONNECT_TIMEOUT_MS = 10000;
const PONG_TIMEOUT_MS = 8000;
const FOLLOW_AGAIN_MS = 3000;
const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 20000;

class Fault extends Error {
  constructor(status, problem = {}, retryAfterMs) {
    super(problem.detail || problem.title || "");
    Object.assign(this, { status, retryAfterMs, code: problem.code, errors: problem.errors ?? [] });
    this.retryable = status === 0 || (problem.retryable ?? (status === 429 || status >= 500));
  }
}

// What a token claims, to greet by name and to say early what is wrong with it. Whether it is true
// is for the server to say.
function readToken(text) {
  const parts = text.split(".");
  if (parts.length !== 3) return null;
  try {
    const bytes = Uint8Array.from(atob(parts[1].replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims?.sub === "string" && typeof claims.tenant_id === "string" ? claims : null;
  } catch { return null; }
}

// `call(method, path, {body, headers})` gives {status, data, tag} or throws a Fault; status 0 means
// that there was no answer.
function openCalls(token, onRefused) {
  return async (method, path, { body, headers = {} } = {}) => {
    let response, answer = {};
    try {
      response = await fetch(CHAT + path, {
        method, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit", redirect: "error",
        headers: {
          Accept: "application/json", Authorization: `Bearer ${token}`,
          ...body ? { "Content-Type": "application/json" } : {}, ...headers,
        },
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      if (response.status !== 304) answer = await response.json();
    } catch {
      // An answer whose body did not come whole is no answer, unless it needed none.
      if (!response || response.ok) throw new Fault(0);
    }
    if (response.ok || response.status === 304) {
      return { status: response.status, data: answer, tag: response.headers.get("ETag") };
    }
    const seconds = Number(response.headers.get("Retry-After"));
    const fault = new Fault(response.status, answer, seconds > 0 ? seconds * 1000 : undefined);
    if (fault.status === 401) onRefused(fault);
    throw fault;
  };
}

// `on` has state(name), frame(frame) and refused(detail).
function openLink(token, deviceID, on) {
  const followed = new Map();     // conversation id → Map of owner → () => seq
  let socket = null, isReady = false, isEnded = false;
  let generation = 0;             // what carries an older one is stale
  let failures = 0, heartbeatMs = 25000;
  let retryTimer, connectTimer, heartbeatTimer, stableTimer;

  function connect() {
    if (isEnded) return;
    drop();
    const mine = generation;
    on.state(failures > 2 || navigator.onLine === false ? "offline" : "connecting");
    const url = new URL(`${CHAT}ws`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const opened = socket = new WebSocket(url, "chat.v2+json");
    opened.onopen = () => transmit({ type: "connect", token, device_id: deviceID });
    opened.onmessage = ({ data }) => {
      if (mine !== generation) return;
      armHeartbeat();
      let frame;
      try { frame = JSON.parse(data); } catch { return; }
      if (frame?.type === "connected") didConnect(frame);
      else if (frame && frame.type !== "pong") {
        if (frame.type === "error") followAgain(frame, mine);
        on.frame(frame);
      }
    };
    opened.onclose = (event) => { if (mine === generation) didClose(event); };
    connectTimer = setTimeout(() => { drop(); reconnect(); }, CONNECT_TIMEOUT_MS);
  }

  function didConnect(frame) {
    clearTimeout(connectTimer);
    if (frame.heartbeat_ms > 0) heartbeatMs = frame.heartbeat_ms;
    isReady = true;
    // A server that accepts and closes at once must still see the backoff grow.
    stableTimer = setTimeout(() => { failures = 0; }, 3000);
    for (const id of followed.keys()) subscribe(id);
    on.state("online");
  }

  function subscribe(id) {
    const owners = isReady ? [...followed.get(id)?.values() ?? []] : [];
    if (!owners.length) return;
    const afterSeq = Math.max(0, Math.min(...owners.map((after) => after())));
    transmit({ type: "subscribe", id: `s-${id}`, conversation_id: id, after_seq: afterSeq });
  }

  // A subscription that was refused or ended for a reason that passes is asked for again.
  function followAgain({ id, conversation_id, problem = {} }, mine) {
    const lost = conversation_id ?? (String(id ?? "").startsWith("s-") ? id.slice(2) : null);
    if (!followed.has(lost) || [403, 404, 409, 422].includes(problem.status)) return;
    setTimeout(() => { if (mine === generation) subscribe(lost); }, FOLLOW_AGAIN_MS);
  }

  function transmit(frame) {
    if (socket?.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(frame));
    return true;
  }

  function drop() {
    for (const timer of [retryTimer, connectTimer, heartbeatTimer, stableTimer]) clearTimeout(timer);
    generation += 1;
    isReady = false;
    const dropped = socket;
    socket = null;
    dropped?.close();
  }

  function reconnect(delayMs) {
    if (isEnded) return;
    if (delayMs === undefined) failures += 1;     // a wait that the server asked for is no failure
    const ceilingMs = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(failures, 10));
    on.state(failures > 2 || navigator.onLine === false ? "offline" : "connecting");
    retryTimer = setTimeout(connect, delayMs ?? ceilingMs * (0.5 + Math.random() / 2));
  }

  function didClose({ code, reason }) {
    drop();
    let details = {};
    try { details = JSON.parse(reason) ?? {}; } catch { /* Not every reason is JSON. */ }
    const hintMs = details.retry_after_ms >= 0 ? Number(details.retry_after_ms) : undefined;
    if (code === 4401 || code === 4403) return on.refused(code, details.detail || reason);
    reconnect(code === 4429 ? hintMs ?? 10000 : hintMs);
  }

  // Silence for one heartbeat asks; no answer to that means that the line is dead.
  function armHeartbeat() {
    clearTimeout(heartbeatTimer);
    heartbeatTimer = setTimeout(probe, heartbeatMs);
  }

  function probe(timeoutMs = PONG_TIMEOUT_MS) {
    clearTimeout(heartbeatTimer);
    if (transmit({ type: "ping" })) heartbeatTimer = setTimeout(() => { drop(); reconnect(0); }, timeoutMs);
  }

  const wake = () => {
    failures = 0;
    if (isReady) probe(4000); else connect();
  };
  const onVisible = () => { if (document.visibilityState === "visible") wake(); };
  window.addEventListener("online", wake);
  document.addEventListener("visibilitychange", onVisible);

  return {
    connect, transmit, wake,
    get isReady() { return isReady; },
    // Both the queue and the open conversation may follow the same one; it is asked for once.
    follow(id, owner, after) {
      const owners = followed.get(id) ?? new Map();
      const isNew = owners.size === 0;
      owners.set(owner, after);
      followed.set(id, owners);
      if (isNew && isReady) subscribe(id);
    },
    unfollow(id, owner) {
      const owners = followed.get(id);
      if (!owners?.delete(owner) || owners.size) return;
      followed.delete(id);
      if (isReady) transmit({ type: "unsubscribe", id: `u-${id}`, conversation_id: id });
    },
    end() {
      isEnded = true;
      drop();
      window.removeEventListener("online", wake);
      document.removeEventListener("visibilitychange", onVisible);
    },
  };
}
