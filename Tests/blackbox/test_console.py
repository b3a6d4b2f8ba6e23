"""The agent console in a headless Chromium, against the real service. Pictures go to `artifacts/`."""

import json
import re

import pytest

from accessibility import check_accessibility
from chromium import DESKTOP, PHONE, browser  # noqa: F401  (a fixture)
from conftest import make_token, texts, unique

pytestmark = pytest.mark.browser
TABLET = (900, 1100, False)
TAB, ESCAPE, ENTER = ("Tab", 9), ("Escape", 27), ("Enter", 13, "\r")
# Runs before the page: keeps the sockets, so that a test can hand them a frame, and lets it step between the page and the
# service: `between(method, address, go)` stands in for a request.
AT_FIRST = """window.sockets = [];
window.WebSocket = class extends WebSocket { constructor(...given) { super(...given); sockets.push(this) } };
const goOut = window.fetch;
window.fetch = (address, options) => {
  const go = () => goOut(address, options);
  return window.between ? window.between(options?.method ?? 'GET', String(address), go) : go();
};"""
PASTE = "(document.querySelector('#token').value = {}, document.querySelector('#login').requestSubmit())"


@pytest.fixture
def open_tab(browser):  # noqa: F811
    """Opens a tab on the service; the first one of a test finds the browser empty."""
    pages = []

    def open_one(service, path, size=DESKTOP, scheme="light", **features):
        page = browser.page(*size, scheme)
        page.emulate(scheme, **features)
        if not pages:
            page.call("Storage.clearDataForOrigin", origin=service.url, storageTypes="all")
        pages.append(page)
        page.call("Page.addScriptToEvaluateOnNewDocument", source=AT_FIRST)
        page.call("Page.navigate", url=service.url + path)
        return page

    yield open_one
    for page in pages:
        page.close()


@pytest.fixture
def open_console(open_tab):
    def open_one(service, user="kim", tenant="demo", query="", token=None, size=DESKTOP, scheme="light", **features):
        page = open_tab(service, "/console" + query, size, scheme, **features)
        page.network_may_fail = True  # What this server cannot select by is a 422, which the browser writes down.
        page.wait("!!ui.querySelector('#token')", "the login")
        page.run(PASTE.format(json.dumps(token or make_token(user, tenant, "agent"))))
        page.online()
        return page

    return open_one


def rows(page):
    return page.run("[...ui.querySelectorAll('.row-link')].map(e => e.dataset.id)")


def wait_for_row(page, conversation):
    page.wait(f"!!ui.querySelector('.row-link[data-id=\"{conversation}\"]')", "the row in the queue")


def wait_for_no_row(page, conversation):
    page.wait(f"!ui.querySelector('.row-link[data-id=\"{conversation}\"]')", "the row being gone")


def show(page, conversation):
    page.run(f"void (location.hash = '{conversation}')")
    page.wait(f"ui.querySelector('#details code')?.innerText === '{conversation}'", "the conversation")
    page.wait("!!ui.querySelector('#entries [data-seq]')", "its log")


def take_over(page):
    page.click("#take")
    page.wait("ui.querySelector('#take').hidden && ui.querySelector('#subheading').innerText.includes('You answer')", "the takeover")


def write(page, text, mode="reply"):
    page.click(f".mode[data-mode={mode}]")
    page.call("Input.insertText", text=text)
    page.press(*ENTER)


def sent(page, text, side="own"):
    return page.wait(f"[...ui.querySelectorAll('[data-side={side}][data-seq]')].filter(e => e.innerText.includes({json.dumps(text)})).length === 1",
                     f"{text!r} in the log, once")


def lines(page):
    return page.run("[...ui.querySelectorAll('.row.line')].filter(e => !e.hidden).map(e => e.querySelector('p:last-child').firstChild.data.trim())")


def wait_for_line(page, text):
    page.wait(f"[...ui.querySelectorAll('.row.line')].some(e => !e.hidden && e.textContent.includes({json.dumps(text)}))", f"the line {text!r}")


def receive(page, **frame):
    """A frame as the service would send it."""
    page.run(f"sockets.at(-1).onmessage({{data: {json.dumps(json.dumps(frame))}}})")


def entry_after(page, conversation, kind, **fields):
    """An entry further on in the log than the service is."""
    seq = page.run("Math.max(...[...ui.querySelectorAll('[data-seq]')].map(e => Number(e.dataset.seq)))") + 100
    entry = {"id": f"msg_{unique()}", "conversation_id": conversation, "seq": seq, "kind": kind, "direction": "inbound", "visibility": "public",
             "sender": {"type": "user", "id": "x"}, "created_at": "2026-01-02T03:04:05.678Z", "content": {"type": "event", "name": kind}, **fields}
    receive(page, type="message", conversation_id=conversation, message=entry)
    return entry


@pytest.fixture
def desk(launch, open_console):
    """A service with a user who waits for a person, and an agent's console."""
    def open_desk(user=None, words="I want to talk to a human agent", **options):
        service = launch()
        client = service.client(user)
        conversation = client.say(words)["conversation_id"]
        return service, client, conversation, open_console(service, **options)

    return open_desk


# --- Logging in


def test_only_an_agents_good_token_opens_it_and_it_stands_in_no_address(launch, open_tab):
    service = launch()
    page = open_tab(service, "/console")
    page.network_may_fail = True  # A refused login is a 401, which the browser writes down.
    page.wait("!!ui.querySelector('#token')", "the login")
    for token, words in (("", "Paste a token"), ("not a token", "not a token"), ("a.b.c", "not a token"),
                         (make_token("kim", role="agent", ttl=-60), "has expired"), (make_token("kim", role="end_user"), "does not belong to an agent"),
                         (make_token("kim", role="agent", secret="x" * 80), "does not accept this token"),
                         (make_token("kim", tenant="nobody", role="agent"), "does not accept this token")):
        page.run(PASTE.format(json.dumps(token)))
        page.wait(f"ui.querySelector('#login-problem').innerText.includes({json.dumps(words)})", f"the message {words!r}")
        assert page.run("document.activeElement.id") == "token" and page.run("ui.querySelector('#login-problem').role") == "alert"
        assert page.run("sessionStorage.getItem('console.token')") is None
    token = make_token("kim", role="agent")
    page.run(PASTE.format(json.dumps(f"Bearer {token[:40]}\n {token[40:]} ")))
    page.online()
    assert page.run("ui.querySelector('.me bdi').innerText") == "kim" and page.run("ui.querySelector('.tenant').innerText") == "demo"
    page.call("Page.reload")
    page.online()
    assert token not in page.run("location.href + JSON.stringify(localStorage) + document.documentElement.outerHTML")
    assert token in page.run("JSON.stringify(sessionStorage)")
    page.click("#leave")
    page.wait("!!ui.querySelector('#token') && ui.querySelector('#token').value === ''", "the login")
    assert page.run("JSON.stringify(sessionStorage)") == "{}"
    page.call("Page.reload")
    page.wait("!!ui.querySelector('#token')", "the login")


def test_a_session_that_ends_says_so_and_keeps_what_was_not_sent(desk, open_console):
    service, client, conversation, page = desk(token=make_token("kim", role="agent", ttl=6))
    show(page, conversation)
    page.click("#composer")
    page.call("Input.insertText", text="half a sentence")
    page.wait("!!ui.querySelector('#login-problem')", "the login")
    assert "expired" in page.run("ui.querySelector('#login-problem').innerText")
    page.run(PASTE.format(json.dumps(make_token("kim", role="agent"))))
    page.online()
    page.wait("ui.querySelector('#composer').value === 'half a sentence'", "the draft")
    # In the hands of somebody else nothing of it is left.
    page.click("#leave")
    page.wait("!!ui.querySelector('#token')", "the login")
    assert "half" not in page.run("JSON.stringify(sessionStorage) + JSON.stringify(localStorage)")


def test_the_page_is_strict_and_small_and_confirmed_by_its_tag(service):
    page = service.anonymous().get("/console")
    policy = page.header("Content-Security-Policy")
    for directive in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
                      "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"):
        assert directive in policy, directive
    assert "unsafe" not in policy and page.header("X-Content-Type-Options") == "nosniff" and page.header("Referrer-Policy") == "no-referrer"
    assert re.findall(r"<script(?![^>]* src=)|<style| on\w+=| style=", page.text) == []
    script = service.anonymous().get("/console.js")
    assert script.header("X-Content-Type-Options") == "nosniff" and script.header("Access-Control-Allow-Origin") is None
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in script.text, word


# --- The queue


def test_who_asks_for_a_person_appears_by_itself_and_leaves_when_a_colleague_takes_over(desk):
    service, _, conversation, page = desk(user="anna")
    wait_for_row(page, conversation)
    assert "anna" in page.run("ui.querySelector('.row-link').innerText")
    page.wait("ui.querySelector('.row-link').innerText.includes('connecting you with a human agent')", "what was said last")
    bob = service.client("bob")
    second = bob.say("Talk to a human")["conversation_id"]
    service.client("carol").say("Hello")
    wait_for_row(page, second)
    assert rows(page) == [conversation, second], "who has waited longest comes first"
    page.wait("document.title === '(2) Agent console' && ui.querySelector('#tab-waiting .count').innerText === '2'", "the count")
    page.wait("ui.querySelector('#announcer').innerText.includes('1 more conversation is waiting')", "what a screen reader hears")
    agent = service.client("lee", role="agent")
    path = f"/api/v2/chat/conversations/{conversation}"
    assert agent.request("PATCH", path, {"handler": {"type": "human", "id": "lee"}, "assignee": "lee"}).status == 200
    wait_for_no_row(page, conversation)
    assert rows(page) == [second]
    assert agent.request("PATCH", f"/api/v2/chat/conversations/{second}", {"priority": "urgent", "labels": ["refund"]}).status == 200
    page.wait("ui.querySelector('.row-link .tags').innerText.includes('Urgent') && ui.querySelector('.row-link .tags').innerText.includes('refund')", "the tags")
    page.click("#tab-open")
    page.wait("ui.querySelectorAll('.row-link').length === 3", "all that are open")
    with service.chat(bob) as socket:
        socket.send(type="typing", conversation_id=second, state="start")
        page.wait(f"ui.querySelector('[data-id=\"{second}\"]').innerText.includes('bob is writing')", "who is typing")
        bob.say("Anybody there?", conversation_id=second)
        page.wait(f"ui.querySelector('[data-id=\"{second}\"] .line').innerText === 'Anybody there?'", "the newest message")
    page.wait(f"ui.querySelector('.row-link').dataset.id === '{second}'", "the newest on top")


def test_words_and_labels_narrow_the_queue(desk):
    service, client, conversation, page = desk(user="anna")
    bob = service.client("bob")
    other = bob.say("Talk to a human")["conversation_id"]
    client.say("Where are my oranges", conversation_id=conversation)
    bob.say("Where are my apples", conversation_id=other)
    agent = service.client("lee", role="agent")
    assert agent.request("PATCH", f"/api/v2/chat/conversations/{conversation}", {"labels": ["fruit"]}).status == 200
    page.click("#tab-open")
    page.wait("ui.querySelectorAll('.row-link').length === 2", "both")
    page.click("#search")
    page.call("Input.insertText", text="Oranges")
    page.wait("ui.querySelectorAll('.row-link').length === 1", "the one")
    assert rows(page) == [conversation]
    page.call("Input.insertText", text=" nowhere")
    page.wait("ui.querySelector('#queue-empty').innerText.includes('Nothing found')", "nothing")
    page.run("(ui.querySelector('#search').value = '', ui.querySelector('#search').dispatchEvent(new Event('input')))")
    page.wait("ui.querySelectorAll('.row-link').length === 2", "both again")
    show(page, conversation)
    page.click(".labels .tag")
    page.wait("ui.querySelector('#filter').innerText.includes('fruit') && ui.querySelectorAll('.row-link').length === 1", "the one with the label")
    page.click("#filter button")
    page.wait("ui.querySelector('#filter').hidden && ui.querySelectorAll('.row-link').length === 2", "both again")
    page.must_be_content()


def test_a_filter_that_the_server_refuses_is_said_and_nothing_breaks(desk):
    service, _, conversation, page = desk(user="anna")
    service.client("bob").say("Hello")
    wait_for_row(page, conversation)
    refusal = {"status": 422, "code": "validation_failed", "title": "Invalid", "detail": "No."}
    page.run("""void (window.between = (method, address, go) => {
      const named = ['assignee', 'q', 'label'].filter(name => new URL(address, location.href).searchParams.has(name));
      if (!address.includes('conversations?') || !named.length) return go();
      const errors = named.map(name => ({pointer: '/' + name, code: 'unsupported', detail: 'Not yet.'}));
      return Promise.resolve(new Response(JSON.stringify({...%s, errors}), {status: 422, headers: {'Content-Type': 'application/problem+json'}}));
    })""" % json.dumps(refusal))
    page.wait("ui.querySelector('#queue-note').innerText.includes('cannot select by assignee')", "the note")
    assert rows(page) == [conversation]
    page.click("#tab-open")
    page.wait("ui.querySelectorAll('.row-link').length === 2", "both")
    page.click("#search")
    page.call("Input.insertText", text="ANNA")
    page.wait("ui.querySelector('#queue-note').innerText.includes('cannot select by words')", "the note")
    assert rows(page) == [conversation]
    page.must_be_content()


def test_what_the_server_cannot_answer_is_said_and_comes_back(desk):
    _, _, conversation, page = desk()
    wait_for_row(page, conversation)
    page.run("void (window.between = (method, address, go) => address.includes('conversations?')"
             " ? Promise.resolve(new Response('<html>', {status: 503})) : go())")
    page.wait("ui.querySelector('#queue-note').innerText.includes('did not load')", "the note")
    assert rows(page) == [conversation], "what was known stays"
    page.run("void (window.between = null)")
    page.wait("!ui.querySelector('#queue-note').innerText.includes('did not load')", "the note being gone", 20)


def test_nothing_of_another_tenant_appears(desk, open_console):
    service, _, conversation, _ = desk(user="anna")
    page = open_console(service, tenant="acme")
    page.click("#tab-open")
    page.wait("!ui.querySelector('#queue-empty').hidden", "an empty queue")
    page.run(f"void (location.hash = '{conversation}')")
    page.wait("ui.querySelector('#notice').innerText.includes('does not exist')", "the message")
    assert "anna" not in page.run("document.body.innerText") and page.run("ui.querySelectorAll('#entries > li').length") == 0
    page.press(*ESCAPE)


# --- Answering


def test_an_agent_takes_over_and_talks_with_the_widget_and_notes_stay_inside(launch, open_tab, open_console):
    service = launch()
    widget = open_tab(service, "/")
    widget.online()
    widget.say("I want to talk to a human")
    widget.wait_for_bubble("outbound", "connecting you")
    page = open_console(service)
    page.wait("ui.querySelectorAll('.row-link').length === 1", "who waits")
    page.click(".row-link")
    page.wait("!ui.querySelector('#open').hidden && ui.querySelectorAll('[data-side=user]').length === 1", "the conversation")
    take_over(page)
    wait_for_line(page, "You took over")
    assert "You took the assignment" not in lines(page), "one line says it"
    widget.say("Is anybody there?")
    sent(page, "Is anybody there?", "user")
    # Both ways: who types is seen by the other.
    page.click("#composer")
    page.call("Input.insertText", text="Yes, ")
    widget.wait("!!ui.querySelector('[data-state=typing]')", "the agent typing, in the widget")
    page.call("Input.insertText", text="I am Kim")
    page.press(*ENTER)
    sent(page, "Yes, I am Kim")
    widget.wait_for_bubble("outbound", "Yes, I am Kim")
    widget.run("ui.querySelector('#composer').focus()")
    widget.call("Input.insertText", text="Good")
    page.wait("ui.querySelector('#typing').innerText.includes('is writing')", "the user typing, in the console")
    write(page, "A difficult customer", "note")
    sent(page, "A difficult customer", "note")
    assert "Internal note" in page.run("ui.querySelector('[data-side=note]').innerText")
    write(page, "How can I help?")
    widget.wait_for_bubble("outbound", "How can I help?")
    assert "difficult" not in widget.run("ui.querySelector('#log').textContent")
    assert [bubble for bubble in widget.bubbles("outbound") if "You said" in bubble] == [], "the assistant is silent"
    agent = service.client("lee", role="agent")
    conversation = page.run("ui.querySelector('#details code').innerText")
    said = texts(agent.log(conversation))
    assert said[-4:] == ["Is anybody there?", "Yes, I am Kim", "A difficult customer", "How can I help?"]
    page.click("#give")
    page.wait("!ui.querySelector('#take').hidden", "the hand-back")
    widget.say("")  # What was begun is sent.
    widget.wait_for_bubble("outbound", "You said: Good")
    page.wait("[...ui.querySelectorAll('[data-side=bot]')].some(e => e.innerText.includes('You said: Good'))", "the assistant's answer, in the console")
    page.must_be_content()
    widget.must_be_content()


def test_labels_priority_status_closing_and_reopening(desk):
    service, client, conversation, page = desk(user="anna")
    agent = service.client("lee", role="agent")
    assert agent.request("PATCH", f"/api/v2/chat/conversations/{conversation}", {"attributes": {"order": "A-7", "seats": 4}}).status == 200
    show(page, conversation)

    def record():
        return agent.conversation(conversation)["conversation"]

    assert page.run("ui.querySelector('#details dl').innerText.split(/\\s+/).join(' ')") == "order A-7 seats 4"
    for label in ("vip", "<b>bold</b>"):
        page.run("ui.querySelector('#label-input').focus()")
        page.call("Input.insertText", text=label)
        page.press(*ENTER)
        page.wait(f"[...ui.querySelectorAll('.labels .tag')].some(e => e.innerText === {json.dumps(label)})", "the label")
        assert page.run("document.activeElement.id") == "label-input"
    assert record()["labels"] == ["vip", "<b>bold</b>"]
    page.click(".labels li:last-child .icon")
    page.wait("ui.querySelectorAll('.labels li').length === 1", "the label being gone")
    page.click("[aria-label=Priority] [data-value=urgent]")
    page.wait("ui.querySelector('[aria-label=Priority] [data-value=urgent]').ariaPressed === 'true'", "the priority")
    assert page.run("document.activeElement.dataset.value") == "urgent", "the focus stays where it was"
    page.click("[aria-label=Status] [data-value=pending]")
    wait_for_no_row(page, conversation)
    page.click("#tab-held")
    wait_for_row(page, conversation)
    assert record()["status"] == "pending" and record()["priority"] == "urgent" and record()["labels"] == ["vip"]
    page.click("#close")
    page.wait("ui.querySelector('#close').innerText === 'Reopen'", "the closing")
    assert record()["status"] == "closed"
    page.click("#tab-closed")
    wait_for_row(page, conversation)
    page.click("#close")
    page.wait("ui.querySelector('#close').innerText === 'Close'", "the reopening")
    assert record()["status"] == "open"
    for line in ("You set the labels to vip", "You set the priority to Urgent", "You set the conversation to pending", "You closed the conversation",
                 "You opened the conversation", "lee changed the attributes"):
        wait_for_line(page, line)
    page.must_be_content()


def test_of_two_agents_the_slower_one_overwrites_nothing_and_is_told_what_changed(desk, open_console):
    service, _, conversation, first = desk()
    second = open_console(service, user="lee")
    for page in (first, second):
        show(page, conversation)
    second.run("void (window.between = (method, address, go) => method === 'PATCH' ? new Promise(done => { window.release = () => done(go()) }) : go())")
    second.click("#take")
    second.wait("!!window.release", "the request being held")
    take_over(first)
    second.run("release()")
    second.wait("ui.querySelector('#notice').innerText.includes('Somebody else changed')", "the message")
    assert "Answering: Unassigned → kim" in second.run("ui.querySelector('#notice').innerText")
    assert second.run("ui.querySelector('#subheading').innerText").startswith("kim answers")
    record = service.client("lee", role="agent").conversation(conversation)["conversation"]
    assert record["assignee"] == "kim" and record["handler"]["id"] == "kim"
    second.run("void (window.between = null)")
    second.picture("console-conflict.png")
    second.click("#notice-close")
    second.click("#take")
    second.wait("ui.querySelector('#subheading').innerText.startsWith('You answer')", "the second takeover, on purpose")
    first.wait("ui.querySelector('#subheading').innerText.startsWith('lee answers')", "the first one hearing of it")


# --- Breaks


def test_a_restart_loses_nothing_and_sends_nothing_twice(desk):
    service, client, conversation, page = desk()
    show(page, conversation)
    take_over(page)
    write(page, "before")
    sent(page, "before")
    port = service.port
    service.kill()
    page.wait("ui.querySelector('#status').dataset.state !== 'online'", "the console seeing it")
    for number in range(3):
        write(page, f"meanwhile {number}")
    page.wait("[...ui.querySelectorAll('.state')].filter(e => e.innerText.includes('as soon as')).length === 3", "what waits")
    service.start(PORT=port)
    client.twin().say("Are you still there?", conversation_id=conversation)
    for number in range(3):
        sent(page, f"meanwhile {number}")
    sent(page, "Are you still there?", "user")
    page.online()
    said = texts(client.twin().log(conversation), "outbound")[-4:]
    assert said == ["before", "meanwhile 0", "meanwhile 1", "meanwhile 2"], "each once, and in the order of writing"


def test_an_answer_that_is_lost_and_a_reload_send_a_reply_once(desk):
    service, client, conversation, page = desk()
    show(page, conversation)
    page.run("void (window.between = async (method, address, go) => { if (method !== 'POST') return go(); await go(); window.went = true; throw new TypeError('cut') })")
    page.run("sockets.forEach(socket => { socket.onmessage = () => {} })")  # And no echo.
    write(page, "only once")
    page.wait("!!window.went", "the message having gone")
    page.call("Page.reload")
    page.online()
    sent(page, "only once")
    page.wait("!Object.keys(sessionStorage).some(name => name.includes('outbox'))", "nothing left to send")
    assert texts(client.log(conversation), "outbound").count("only once") == 1


def test_what_is_refused_stays_with_its_reason_until_it_is_sent_again_or_deleted(desk):
    service, client, conversation, page = desk()
    show(page, conversation)
    page.run("void (window.between = (method, address, go) => method === 'POST' ? Promise.resolve(new Response("
             "JSON.stringify({status: 422, detail: 'Not so.', retryable: false}), {status: 422})) : go())")
    write(page, "one")
    write(page, "two")
    page.wait("ui.querySelectorAll('[data-state=failed]').length === 2", "both being refused")
    assert "Not sent. Not so." in page.run("ui.querySelector('[data-state=failed]').innerText")
    page.click("#leave")
    page.wait("ui.querySelector('#confirm').open && ui.querySelector('#confirm').innerText.includes('2 messages have not been sent')", "the question")
    page.press(*ESCAPE)
    page.run("void (window.between = null)")
    page.click("[data-state=failed] .link:last-child")
    page.wait("ui.querySelectorAll('[data-state=failed]').length === 1", "one being deleted")
    page.click("[data-state=failed] .link")
    sent(page, "two")
    assert [text for text in texts(client.log(conversation), "outbound") if text in ("one", "two")] == ["two"]


def test_older_pages_come_on_scrolling_and_a_long_absence_is_filled(desk):
    service, client, conversation, page = desk()
    agent = service.client("lee", role="agent")
    path = f"/api/v2/chat/conversations/{conversation}/messages"
    for number in range(120):
        assert agent.post(path, {"content": {"type": "text", "text": f"line {number}"}}).status == 201
    show(page, conversation)
    seqs = "[...ui.querySelectorAll('[data-seq]')].map(e => Number(e.dataset.seq))"
    assert page.run(f"{seqs}.length") <= 60
    page.wait(f"(ui.querySelector('#log').scrollTo(0, 0), {seqs}[0] === 1)", "the first message")
    shown = page.run(seqs)
    assert shown == sorted(set(shown)) and len(shown) == len([entry for entry in agent.log(conversation) if entry["kind"] == "message"])
    # The socket is gone without a word; what was said meanwhile is read by paging or by replay.
    page.run("sockets.at(-1).onmessage = () => {}")
    for number in range(30):
        assert agent.post(path, {"content": {"type": "text", "text": f"late {number}"}}).status == 201
    page.run("sockets.at(-1).close()")
    page.wait("[...ui.querySelectorAll('[data-side=agent]')].some(e => e.innerText.includes('late 29'))", "the last one")
    page.wait(f"{seqs}.length === {len(shown) + 30}", "every one")
    assert page.run(seqs) == sorted(page.run(seqs))
    assert page.run("!ui.querySelector('#newest').hidden && ui.querySelector('#newest').innerText.includes('30')"), "who reads above is not moved"
    page.click("#newest")
    page.wait("ui.querySelector('#newest').hidden", "the end of the log")


# --- What comes from strangers


HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"


def test_hostile_content_stays_text(desk):
    service, client, conversation, page = desk(user=HOSTILE[:100])
    client.say(HOSTILE, conversation_id=conversation)
    client.say("javascript:alert(1) data:text/html,x https://good.example/a?b=<i>", conversation_id=conversation)
    client.say("\u202eevil\u202c " + "w" * 3000, conversation_id=conversation)
    for content in ({"type": "contact", "name": {"x": 1}, "phones": 5, "emails": "x", HOSTILE[:20]: HOSTILE},
                    {"type": "image", "url": "https://tracker.example/pixel.png", "mime_type": "image/png"},
                    {"type": "location", "latitude": 1, "longitude": 2, "name": HOSTILE}):
        assert client.post_message(content=content, conversation_id=conversation).status in (200, 202)
    agent = service.client("lee", role="agent")
    path = f"/api/v2/chat/conversations/{conversation}"
    assert agent.request("PATCH", path, {"labels": [HOSTILE[:60], "\u202elabel"], "attributes": {HOSTILE: {"a": HOSTILE}}}).status == 200
    assert agent.post(path + "/messages", {"content": {"type": "buttons", "text": "x", "buttons": [
        {"id": "a", "title": HOSTILE[:60], "url": "https://shop.example/"}]}}).status == 201
    page.click("#tab-open")
    wait_for_row(page, conversation)
    show(page, conversation)
    page.wait("ui.querySelectorAll('[data-side=user]').length === 7", "all of it")
    for type_, content in (("x", {"type": "constructor"}), ("y", {"type": "text"}), ("z", {"type": "list", "sections": 5}), ("w", None)):
        entry_after(page, conversation, "message", id=f"msg_{type_}", content=content)
    page.wait("ui.querySelectorAll('[data-side=user]').length === 11", "what nobody understands")
    assert page.run("window.hacked") is None
    assert page.run("document.querySelectorAll('img, script:not([src]), iframe').length") == 0
    assert HOSTILE in page.run("[...ui.querySelectorAll('.text')].map(e => e.textContent).join()")
    links = page.run("[...ui.querySelectorAll('#main a')].map(a => [a.protocol, a.rel, a.target])")
    assert links and all(protocol == "https:" and "noopener" in rel and target == "_blank" for protocol, rel, target in links), links
    for selector in ("html", "#log", "#queue-panel", "#details"):
        assert page.run(f"ui.querySelector('{selector}').scrollWidth <= ui.querySelector('{selector}').clientWidth"), f"{selector} scrolls sideways"
    # Nobody learns that an agent looks before the agent wants it.
    assert "tracker.example" in page.run("ui.querySelector('.media button').innerText")
    page.picture("console-hostile.png")
    page.must_be_content()


def test_edits_redactions_reactions_receipts_and_presence_are_shown_on_what_they_are_about(desk):
    service, client, conversation, page = desk(user="anna")
    show(page, conversation)
    said = entry_after(page, conversation, "message", content={"type": "text", "text": "frist"}, sender={"type": "user", "id": "anna"})
    entry_after(page, conversation, "edit", reply_to=said["id"], content={"type": "text", "text": "first"}, seq=said["seq"] + 1)
    entry_after(page, conversation, "reaction", reply_to=said["id"], content={"type": "reaction", "message_id": said["id"], "emoji": "👍"}, seq=said["seq"] + 2)
    bubble = f"ui.querySelector('[data-seq=\"{said['seq']}\"]')"
    page.wait(f"{bubble}?.innerText.includes('first') && {bubble}.innerText.includes('Edited') && {bubble}.innerText.includes('👍')", "the edit and the reaction")
    entry_after(page, conversation, "redaction", reply_to=said["id"], content={"type": "event", "name": "redacted"}, seq=said["seq"] + 3)
    page.wait(f"{bubble}.innerText.includes('This message was removed')", "the redaction")
    assert "first" not in page.run(f"{bubble}.innerText") and "👍" not in page.run(f"{bubble}.innerText")
    receive(page, type="presence", user_id="anna", state="online")
    page.wait("ui.querySelector('#subheading').innerText.includes('online')", "the presence")
    ours = entry_after(page, conversation, "message", direction="outbound", content={"type": "text", "text": "ours"},
                       sender={"type": "agent", "id": "kim"}, seq=said["seq"] + 4)
    for name, words in (("delivered_seq", "Delivered"), ("read_seq", "Read")):
        receive(page, type="receipt", conversation_id=conversation, user_id="anna", **{name: ours["seq"]})
        page.wait(f"ui.querySelector('[data-seq=\"{ours['seq']}\"] .state').innerText === '{words}'", words)
    receive(page, type="run", conversation_id=conversation, run_id="run_x", state="started")
    for index, text in enumerate(("The answer ", "comes ", "in parts")):
        receive(page, type="run", conversation_id=conversation, run_id="run_x", state="delta", index=index, text=text)
    page.wait("ui.querySelector('.streaming .text').innerText === 'The answer comes in parts'", "the streamed answer")
    receive(page, type="run", conversation_id=conversation, run_id="run_x", state="ended", reason="completed")
    page.wait("!ui.querySelector('.streaming')", "the end of the run")
    page.must_be_content()


# --- Keyboard, focus, screen readers


def focused(page):
    return page.run("document.activeElement?.id || document.activeElement?.className || document.activeElement?.localName")


def test_by_keyboard_alone(desk):
    service, client, conversation, page = desk(user="anna")
    second = service.client("bob").say("Talk to a human")["conversation_id"]
    wait_for_row(page, second)
    assert focused(page) == "search"
    page.press(*ESCAPE)
    assert focused(page) == "row-link"
    page.press("j", 74, "j")
    assert page.run("document.activeElement.dataset.id") == second
    page.press("k", 75, "k")
    page.press(*ENTER)
    page.wait(f"location.hash === '#{conversation}' && document.activeElement.id === 'composer'", "the conversation with the focus in it")
    page.wait("!!ui.querySelector('#entries [data-seq]')", "its log")
    page.press("t", 84, "t")
    page.wait("ui.querySelector('#composer').value === 't'", "a letter in a text field being a letter")
    page.press("Backspace", 8)
    page.press(*ESCAPE)
    assert focused(page) == "log"
    page.press("t", 84, "t")
    page.wait("ui.querySelector('#take').hidden", "the takeover")
    page.press("n", 78, "n")
    page.wait("document.activeElement.id === 'composer' && ui.querySelector('#form').dataset.mode === 'note'", "the note")
    page.call("Input.insertText", text="by keyboard")
    page.press(*ENTER)
    sent(page, "by keyboard", "note")
    page.press(*ESCAPE)
    page.press("l", 76, "l")
    page.call("Input.insertText", text="key")
    page.press(*ENTER)
    page.wait("ui.querySelector('.labels')?.innerText.includes('key')", "the label")
    page.press(*ESCAPE)
    page.press("c", 67, "c")
    page.wait("ui.querySelector('#close').innerText === 'Reopen'", "the closing")
    page.press("?", 191, "?")
    page.wait("ui.querySelector('#help-dialog').open", "the help")
    page.press("c", 67, "c")
    page.press(*ESCAPE)
    page.wait("!ui.querySelector('#help-dialog').open", "the help being closed")
    page.run("ui.querySelector('#single-keys').click()")
    page.press("c", 67, "c")
    page.press("2", 50, "2")
    assert page.run("ui.querySelector('#close').innerText === 'Reopen' && ui.querySelector('#tab-waiting').ariaSelected === 'true'")
    page.run("ui.querySelector('#single-keys').click()")
    page.press("5", 53, "5")
    wait_for_row(page, conversation)
    assert focused(page) == "tab-closed"
    page.press("ArrowLeft", 37)
    assert focused(page) == "tab-held"
    page.press("/", 191, "/")
    assert focused(page) == "search"
    page.must_be_content()


def test_a_screen_reader_hears_each_message_once(desk):
    service, client, conversation, page = desk(user="anna")
    show(page, conversation)
    take_over(page)
    page.run("(() => { window.heard = []; new MutationObserver(list => list.forEach(change => change.addedNodes.forEach(node =>"
             "heard.push(node.textContent)))).observe(ui.querySelector('#announcer'), {childList: true}) })()")
    client.say("first", conversation_id=conversation)
    client.say("second", conversation_id=conversation)
    write(page, "mine")
    sent(page, "mine")
    client.say("third", conversation_id=conversation)
    page.wait("heard.length === 3", "three announcements")
    assert page.run("heard") == ["anna: first", "anna: second", "anna: third"]
    assert page.run("ui.querySelector('#announcer').ariaLive") == "polite" and page.run("ui.querySelector('#log').ariaLive") == "off"


def test_on_a_phone_queue_and_conversation_are_two_screens(desk):
    service, client, conversation, page = desk(user="anna", size=PHONE)
    wait_for_row(page, conversation)
    page.picture("console-phone-queue.png")
    assert page.run("!ui.querySelector('#main').checkVisibility() && ui.querySelector('#main').inert")
    page.click(".row-link")
    page.wait("ui.querySelector('#main').checkVisibility() && !ui.querySelector('.queue').checkVisibility()", "the conversation")
    page.wait("!!ui.querySelector('#entries [data-seq]')", "its log")
    assert focused(page) == "heading", "no keyboard over half of the screen"
    page.click("#toggle-details")
    page.wait("ui.querySelector('#details').checkVisibility() && document.activeElement.id === 'close-details'", "the details")
    assert page.run("ui.querySelector('#main').inert && ui.querySelector('#toggle-details').ariaExpanded === 'true'")
    page.click("#close-details")
    page.wait("!ui.querySelector('#details').checkVisibility() && document.activeElement.id === 'toggle-details'", "the conversation again")
    page.run("history.back()")
    page.wait("ui.querySelector('.queue').checkVisibility() && location.hash === ''", "the queue")
    assert page.run("document.activeElement.dataset.id") == conversation
    page.must_be_content()


# --- Roles, names, contrast, languages


def fill(service, client, conversation):
    """All that a conversation may hold."""
    agent, path = service.client("lee", role="agent"), f"/api/v2/chat/conversations/{conversation}"
    client.say("I was charged twice, see https://shop.example/orders/A-20931. Can you help?", conversation_id=conversation)
    for content in ({"type": "buttons", "text": "Which one?", "buttons": [{"id": "a", "title": "The red one"}, {"id": "b", "title": "The blue one"}]},
                    {"type": "list", "text": "Where to?", "button": "Shops", "sections": [{"title": "North", "rows": [
                        {"id": "n1", "title": "Harbour street", "description": "Open until eight"}]}]},
                    {"type": "carousel", "cards": [{"title": "Walking shoe", "subtitle": "Light leather", "buttons": [{"id": "w", "title": "Show me"}]}]},
                    {"type": "location", "latitude": 59.3, "longitude": 18.1, "name": "The shop"}):
        assert agent.post(path + "/messages", {"content": content}).status == 201
    assert agent.post(path + "/messages", {"content": {"type": "text", "text": "Refund of 24.90 is approved."}, "visibility": "internal"}).status == 201
    patch = {"labels": ["vip", "billing", "A label of some length"], "priority": "high", "attributes": {"order": "A-20931", "plan": "Family"}}
    assert agent.request("PATCH", path, patch).status == 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name,size", [("phone", PHONE), ("tablet", TABLET), ("desktop", DESKTOP)])
def test_roles_names_and_contrast(launch, open_tab, name, size, scheme):
    service = launch()
    page = open_tab(service, "/console", size, scheme)
    page.network_may_fail = True
    page.wait("!!ui.querySelector('#token')", "the login")
    page.run(PASTE.format("'x'"))
    page.wait("!!ui.querySelector('#login-problem').innerText", "the message")
    check_accessibility(page)
    page.picture(f"console-{name}-{scheme}-login.png")
    page.run(PASTE.format(json.dumps(make_token("kim", role="agent"))))
    page.online()
    page.wait("!ui.querySelector('#queue-empty').hidden", "the empty queue")
    check_accessibility(page)
    page.picture(f"console-{name}-{scheme}-empty.png")
    client = service.client("anna.lindqvist@example.com")
    conversation = client.say("I want to talk to a human agent")["conversation_id"]
    fill(service, client, conversation)
    others = [service.client(user).say(words)["conversation_id"] for user, words in (
        ("marcus", "Talk to a human please"), ("فاطمة الزهراء", "Hello human"), ("guest-" + "0123456789" * 6, "A human, quick"))]
    agent = service.client("lee", role="agent")
    assert agent.request("PATCH", f"/api/v2/chat/conversations/{others[0]}", {"priority": "urgent", "labels": ["refund"]}).status == 200
    page.wait("ui.querySelectorAll('.row-link').length === 4 && !!ui.querySelector('.tag.urgent')", "the queue")
    check_accessibility(page)
    page.picture(f"console-{name}-{scheme}-queue.png")
    show(page, conversation)
    take_over(page)
    if size != PHONE:
        page.click("#tab-mine")
    write(page, "Hello Anna, I am looking at it right now.")
    sent(page, "Hello Anna")
    page.click(".mode[data-mode=note]")
    page.wait("ui.querySelector('#form').dataset.mode === 'note'", "the note")
    check_accessibility(page)
    page.picture(f"console-{name}-{scheme}-note.png")
    page.click(".mode[data-mode=reply]")
    with service.chat(client) as socket:
        socket.send(type="typing", conversation_id=conversation, state="start")
        page.wait("!ui.querySelector('#typing').hidden", "who is typing")
        check_accessibility(page)
        page.picture(f"console-{name}-{scheme}.png")
    page.run("ui.querySelector('#log').scrollTo(0, 0)")
    page.wait("ui.querySelector('#log').scrollTop === 0", "the beginning")
    page.picture(f"console-{name}-{scheme}-top.png")
    check_accessibility(page)
    if size != DESKTOP:
        page.click("#toggle-details")
        page.wait("ui.querySelector('#details').checkVisibility() && ui.querySelector('#details').getAnimations().length === 0", "the details")
        check_accessibility(page)
        page.picture(f"console-{name}-{scheme}-details.png")
        page.click("#close-details")
    page.run("ui.querySelector('#help-dialog').showModal()")
    check_accessibility(page)
    page.picture(f"console-{name}-{scheme}-help.png")
    for selector in ("html", "#log", "#queue-panel", "#details"):
        assert page.run(f"ui.querySelector('{selector}').scrollWidth <= ui.querySelector('{selector}').clientWidth"), f"{selector} scrolls sideways"
    page.must_be_content()


def test_the_theme_is_the_systems_until_somebody_chooses(desk):
    _, _, _, page = desk(scheme="dark")
    scheme = "document.documentElement.dataset.scheme"
    assert page.run(scheme) == "dark"
    page.emulate("light")
    page.wait(f"{scheme} === 'light'", "the system's change")
    page.click("#theme")
    page.click("#theme")
    assert page.run(scheme) == "dark" and page.run("ui.querySelector('#theme').ariaLabel") == "Theme: dark"
    page.call("Page.reload")
    page.online()
    assert page.run(scheme) == "dark"
    page.click("#theme")
    assert page.run(scheme) == "light"


def test_right_to_left(desk):
    service, client, conversation, page = desk(user="فاطمة", query="?language=ar", words="I want a human")
    assert page.run("document.documentElement.dir") == "rtl" and page.run("document.documentElement.lang") == "ar"
    page.run(f"void (location.hash = '{conversation}')")
    page.wait("!!ui.querySelector('#entries [data-seq]')", "its log")
    page.click("#take")
    page.wait("ui.querySelector('#take').hidden", "the takeover")
    write(page, "مرحبا")
    sent(page, "مرحبا")
    left = "ui.querySelector('{}').getBoundingClientRect().left"
    assert page.run(left.format("#details")) < page.run(left.format("#main")) < page.run(left.format(".queue"))
    assert page.run(left.format(".own .bubble")) < page.run(left.format(".user .bubble"))
    assert page.run(left.format("#send")) < page.run(left.format("#composer"))
    check_accessibility(page)
    page.picture("console-arabic.png")
    page.must_be_content()


def test_less_motion_means_none(desk):
    _, _, conversation, page = desk(prefers_reduced_motion="reduce")
    show(page, conversation)
    take_over(page)
    receive(page, type="typing", conversation_id=conversation, sender={"type": "user", "id": "anna"}, state="start")
    page.wait("!ui.querySelector('#typing').hidden", "who is typing")
    assert page.run("document.getAnimations().length") == 0


def test_every_language_has_every_text(service):
    script = service.anonymous().get("/console.js").text
    table = script[script.index("const TEXTS = {"):script.index("function pickLanguage")]
    languages = {}
    for code, block in re.findall(r"\n  (\w\w): \{\n(.*?)\n  \},", table, re.S):
        block = re.sub(r'"(?:[^"\\]|\\.)*"', '""', block)
        block = re.sub(r"\{[^{}]*\}", '""', block)
        languages[code] = set(re.findall(r"(\w+):", block))
    assert set(languages) == {"en", "de", "fr", "es", "ar"} and len(languages["en"]) > 150
    for code, names in languages.items():
        assert names == languages["en"], code
    used = set(re.findall(r'\bt\("(\w+)"', script))
    assert used <= languages["en"] and "takeOver" in used
