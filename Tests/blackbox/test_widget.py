"""The widget in a headless Chromium, on a page of another origin than the service's. Pictures go to `artifacts/`."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from accessibility import check_accessibility
from chromium import DESKTOP, browser  # noqa: F401  (a fixture)
from conftest import eventually, unique

pytestmark = pytest.mark.browser
SMALL_PHONE, NARROW = (360, 740, True), (320, 640, True)
# Runs before the page: keeps the sockets, so that a test can hand them a frame, and notes which names there are.
AT_FIRST = """window.sockets = [];
window.WebSocket = class extends WebSocket { constructor(...given) { super(...given); sockets.push(this) } };
window.namesAtFirst = Object.getOwnPropertyNames(window).concat('namesAtFirst')"""
TAB, ESCAPE, ENTER, SHIFT = ("Tab", 9), ("Escape", 27), ("Enter", 13, "\r"), 8


class Host:
    """A shop's web server: one page, with a policy as strict as can be."""

    def __init__(self):
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = host.page.encode() if self.path == "/" else b""
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                if host.policy:
                    self.send_header("Content-Security-Policy", host.policy)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.page = self.policy = ""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def embed(self, service, body=None, **attributes):
        written = " ".join(f'data-{name.replace("_", "-")}="{value}"' for name, value in {"tenant": "demo", **attributes}.items())
        script = body or f'<script src="{service.url}/widget.js" {written}></script>'
        self.page = (f'<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Shop</title>'
                     f'<h1>A shop</h1><p>Shoes and <a href="#">socks</a>.</p>{script}')
        socket = service.websocket_url("")
        self.policy = (f"default-src 'none'; script-src {service.url}; connect-src {service.url} {socket}; "
                       "require-trusted-types-for 'script'; base-uri 'none'; form-action 'none'")

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def host():
    host = Host()
    yield host
    host.close()


@pytest.fixture
def shop(launch, host, browser):  # noqa: F811
    """Opens the shop with the widget on it; gives the page and the service."""
    pages = []

    def open_shop(size=DESKTOP, scheme="light", listed=True, body=None, features=None, **attributes):
        service = launch(begin=False)
        service.data_directory.mkdir(parents=True)
        origin = host.url if listed else "https://elsewhere.example"
        assert service.command("tenant", "set", "demo", "--origin", origin).returncode == 0
        service.start()
        host.embed(service, body and body.replace("SERVICE", service.url), **attributes)
        page = browser.page(*size, scheme)
        pages.append(page)
        page.emulate(scheme, **(features or {}))
        page.call("Storage.clearDataForOrigin", origin=host.url, storageTypes="all")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=AT_FIRST)
        page.call("Page.navigate", url=host.url + "/")
        page.wait("!!ui.querySelector('#launcher')", "the launcher")
        return page, service

    yield open_shop
    for page in pages:
        page.close()


def open_chat(page):
    page.click("#launcher")
    page.wait("!ui.querySelector('#panel').hidden", "the open panel")
    page.online()
    page.run("Promise.all(ui.getAnimations().filter(a => a.effect.getTiming().iterations === 1).map(a => a.finished.catch(() => {})))")


def chat(page, text="The sky is blue"):
    page.say(text)
    page.wait_for_bubble("outbound", f"You said: {text}")


def focused(page):
    """The id of what has the focus: in the widget with a `#`, else of the page."""
    return page.run("(() => { const e = document.activeElement; if (e?.localName !== 'chat-widget') return e?.localName ?? null;"
                    "return '#' + (ui.activeElement?.id || ui.activeElement?.className) })()")


def conversation_of(service, page):
    identity = page.run(f"localStorage.getItem('chat.{service.authority}.demo.identity')")
    user = json.loads(identity)["user_id"]
    reader = service.client("backend", role="service")
    return reader, user, reader.conversations(user_id=user)["data"][0]["id"]


def say_from_elsewhere(service, page, text):
    """Another device of the guest's says something, and the engine answers."""
    backend, user, conversation = conversation_of(service, page)
    body = {"user_id": user, "channel": "web", "conversation_id": conversation, "content": {"type": "text", "text": text}}
    assert backend.post("/api/v2/chat/message", body).status in (200, 202)


def receive(page, content):
    """A bot's message as the service would send it; none of its engines makes all kinds of content yet.

    Its seq lies between two whole ones, so that it stands in nobody's way."""
    page.run("(() => { const seqs = [...ui.querySelectorAll('[data-seq]')].map(e => Number(e.dataset.seq));"
             "const message = {id: `msg_${crypto.randomUUID()}`, seq: Math.max(0, ...seqs) + 0.01, kind: 'message',"
             "direction: 'outbound', sender: {type: 'bot', id: 'engine'}, created_at: new Date().toISOString(),"
             f"content: {json.dumps(content)}}};"
             "sockets.at(-1).onmessage({data: JSON.stringify({type: 'message', message})}) })()")


# --- On a page of another origin


def test_one_script_tag_is_all_under_a_strict_policy_and_nothing_leaks(shop):
    page, service = shop()
    assert page.run("document.querySelectorAll('chat-widget').length") == 1
    assert page.run("ui.querySelector('#panel').hidden") and page.run("ui.querySelector('#launcher').ariaExpanded") == "false"
    assert page.run("Object.keys(localStorage).filter(name => name.includes('identity')).length") == 0, "nobody is made known unasked"
    open_chat(page)
    chat(page)
    leaked = page.run("Object.getOwnPropertyNames(window).filter(name => !namesAtFirst.includes(name) && isNaN(name))")
    assert leaked == []
    assert page.run("document.head.querySelectorAll('style, link').length") == 0
    first = conversation_of(service, page)[1]
    page.call("Page.reload")
    page.wait("!!ui.querySelector('#status[data-state=online]')", "the returning guest's connection")
    page.wait("ui.querySelectorAll('[data-direction]').length === 2", "the history")
    assert conversation_of(service, page)[1] == first, "the guest's token is used again"
    page.must_be_content()


def test_the_element_may_be_written_by_hand_and_is_driven_by_script(shop):
    page, _ = shop(body='<script src="SERVICE/widget.js"></script><chat-widget tenant="demo" position="left"></chat-widget>')
    assert page.run("ui.querySelector('#launcher').getBoundingClientRect().left") < 40
    page.run("window.heard = [], document.querySelector('chat-widget').addEventListener('chat-open', e => heard.push(e.type))")
    page.run("document.querySelector('chat-widget').show()")
    page.online()
    assert page.run("heard") == ["chat-open"] and focused(page) == "#composer"
    page.run("document.querySelector('chat-widget').open = false")
    assert page.run("ui.querySelector('#panel').hidden")
    page.run("document.querySelector('chat-widget').setAttribute('language', 'fr')")
    page.wait("ui.querySelector('#launcher').ariaLabel.startsWith('Ouvrir')", "the new language")
    page.run("document.querySelector('chat-widget').remove()")
    assert page.run("document.querySelectorAll('chat-widget').length") == 0
    page.must_be_content()


def test_an_origin_that_the_tenant_does_not_list_gets_no_guest(shop):
    page, _ = shop(listed=False)
    page.network_may_fail = True
    page.click("#launcher")
    page.wait("!ui.querySelector('#notice').hidden", "the notice")
    assert page.run("Object.keys(localStorage).filter(name => name.includes('identity')).length") == 0
    assert not page.run("!!ui.querySelector('#status[data-state=online]')")


# --- Nothing is lost, nothing is doubled


def test_what_was_written_while_the_service_was_down_outlives_a_reload_and_arrives_once(shop):
    page, service = shop(open="")
    page.online()
    chat(page, "before")
    port = service.port
    page.network_may_fail = True
    assert service.stop() == 0
    page.wait("!ui.querySelector('#status[data-state=online]')", "the widget noticing the loss")
    for text in ("first of the dark", "second of the dark"):
        page.say(text)
        page.wait_for_bubble("inbound", text)
    page.wait("!ui.querySelector('#notice').hidden", "the offline notice", 30)
    page.picture("widget-offline.png")
    kept = page.run("Object.keys(localStorage).filter(name => name.includes('.outbox.')).length")
    assert kept == 2
    # The script comes from the service: a page that is loaded without it shows no chat, and loses nothing.
    page.call("Page.reload")
    page.wait("document.readyState === 'complete' && !document.querySelector('chat-widget')", "the page without the service")
    service.start(PORT=port)
    page.call("Page.reload")
    page.online(60)
    page.network_may_fail = False
    for text in ("before", "first of the dark", "second of the dark"):
        page.wait_for_bubble("outbound", f"You said: {text}", 30)
        assert page.count("inbound", text) == 1 and page.count("outbound", f"You said: {text}") == 1, text
    page.wait("Object.keys(localStorage).every(name => !name.includes('.outbox.'))", "the empty outbox")
    reader, _, conversation = conversation_of(service, page)
    texts = [entry["content"].get("text") for entry in reader.messages(conversation) if entry["direction"] == "inbound"]
    assert texts == ["before", "first of the dark", "second of the dark"], "once each, in their order"


def test_an_unsent_message_is_shown_after_a_reload_and_a_lost_acknowledgement_makes_no_double(shop):
    page, service = shop(open="")
    page.online()
    chat(page, "before")
    _, user, conversation = conversation_of(service, page)
    # As if the page had gone between the send and its acknowledgement, and again before the send.
    token = page.run(f"JSON.parse(localStorage.getItem('chat.{service.authority}.demo.identity')).token")
    with service.chat(service.client(user, token=token)) as socket:
        socket.say("acknowledged into the void", id="c-void", conversation_id=conversation, channel="web")
    for id, text in (("c-void", "acknowledged into the void"), ("c-never", "never sent")):
        item = {"id": id, "content": {"type": "text", "text": text}, "state": "sending"}
        page.run(f"localStorage.setItem('chat.{service.authority}.demo.outbox.{id}',"
                 f"JSON.stringify({{...{json.dumps(item)}, createdAt: new Date().toISOString()}}))")
    old = {"id": "c-old", "content": {"type": "text", "text": "from last week"}, "state": "sending",
           "createdAt": "2020-01-01T00:00:00.000Z"}
    page.run(f"localStorage.setItem('chat.{service.authority}.demo.outbox.c-old', {json.dumps(json.dumps(old))})")
    page.call("Page.reload")
    page.online()
    page.wait_for_bubble("outbound", "You said: never sent")
    page.wait_for_bubble("inbound", "from last week")
    assert "Try again" in page.run("ui.querySelector('[data-state=failed]').innerText"), "an old one waits for a word"
    page.click(".discard")
    page.wait("!ui.querySelector('[data-state=failed]')", "the discarded message being gone")
    reader = service.client("backend", role="service")
    texts = [entry["content"].get("text") for entry in reader.messages(conversation) if entry["direction"] == "inbound"]
    assert texts == ["before", "acknowledged into the void", "never sent"]
    assert page.count("inbound", "acknowledged into the void") == 1
    page.wait("Object.keys(localStorage).every(name => !name.includes('.outbox.'))", "the empty outbox")
    page.must_be_content()


# --- What becomes of messages


def test_edits_deletions_and_reactions_are_shown_live_and_after_a_reload(shop):
    page, service = shop()
    open_chat(page)
    chat(page, "The sky is bleu")
    reader, user, conversation = conversation_of(service, page)
    identity = json.loads(page.run(f"localStorage.getItem('chat.{service.authority}.demo.identity')"))
    guest, agent = service.client(user=user, token=identity["token"]), service.client("kim", role="agent")
    message, reply = reader.messages(conversation)[:2]
    path = f"/api/v2/chat/conversations/{conversation}/messages/"
    heard = page.run("ui.querySelector('#announcer').childElementCount")

    assert guest.request("PATCH", path + message["id"], {"content": {"type": "text", "text": "The sky is blue"}}).status == 200
    page.wait_for_bubble("inbound", "The sky is blue")
    own, answer = (f"[data-message-id={each['id']}]" for each in (message, reply))
    assert page.run(f"ui.querySelector('{own} .edited').textContent") == "Edited"
    for client in (guest, agent):
        assert client.post(path + message["id"] + "/reactions", {"emoji": "👍"}).status == 201
    page.wait(f"ui.querySelector('{own} .reactions')?.innerText === '👍 2'", "both reactions")
    assert guest.post(path + message["id"] + "/reactions", {"emoji": "<b>"}).status == 201
    assert agent.request("DELETE", path + reply["id"]).status == 204
    for _ in ("live", "after a reload"):
        page.wait(f"ui.querySelector('{answer} .bubble.removed')?.innerText === 'This message was removed'", "the removed answer")
        page.wait(f"ui.querySelector('{own} .reactions')?.innerText.replace(/\\s+/g, ' ') === '<b> 👍'", "the last reactions")
        assert page.count("inbound", "The sky is blue") == 1 and page.count("inbound", "The sky is bleu") == 0
        assert page.run(f"ui.querySelector('{own} .edited').getClientRects().length > 0")
        assert "bleu" not in page.run("ui.querySelector('#entries').innerText")
        assert page.run("ui.querySelector('#announcer').childElementCount") <= heard, "nothing of it is a new message"
        page.call("Page.reload")
        page.wait("!!ui.querySelector('#launcher')", "the launcher")
        if page.run("ui.querySelector('#panel').hidden"):
            open_chat(page)
        heard = 20
    page.must_be_content()


# --- Unread


def test_what_comes_while_the_chat_is_closed_is_counted_on_the_launcher_and_in_the_title(shop):
    page, service = shop(badge_in_title="")
    open_chat(page)
    chat(page)
    page.press(*ESCAPE)
    page.wait("ui.querySelector('#panel').hidden", "the closed panel")
    assert page.run("ui.querySelector('#badge').hidden") and page.run("document.title") == "Shop"
    for count in (1, 2):
        say_from_elsewhere(service, page, f"news {count}")
        page.wait(f"ui.querySelector('#badge').textContent === '{count}' && !ui.querySelector('#badge').hidden", "the badge")
    assert page.run("document.title") == "(2) Shop"
    assert page.run("ui.querySelector('#launcher').ariaLabel") == "Open the chat, 2 unread messages"
    page.picture("widget-badge.png")
    page.call("Page.reload")
    page.wait("ui.querySelector('#badge')?.textContent === '2'", "the badge after a reload")
    page.click("#launcher")
    page.wait("ui.querySelector('#badge').hidden && document.title === 'Shop'", "all read")
    page.call("Page.reload")
    page.wait("!!ui.querySelector('#status[data-state=online]')", "the connection")
    assert page.run("ui.querySelector('#badge').hidden")
    page.must_be_content()


def test_what_is_looked_at_is_read_and_not_before(shop):
    page, service = shop()
    open_chat(page)
    chat(page)
    _, _, identifier = conversation_of(service, page)
    agent = service.client(user="kim", role="agent")

    def unread():
        return agent.conversation(identifier)["conversation"]["unread"]

    eventually(lambda: unread() == 0, what="the read mark of an open chat")
    page.press(*ESCAPE)
    page.wait("ui.querySelector('#panel').hidden", "the closed panel")
    response = agent.post(f"/api/v2/chat/conversations/{identifier}/messages",
                          {"content": {"type": "text", "text": "Kim here"}})
    assert response.status == 201
    page.wait("ui.querySelector('#badge').textContent === '1'", "the badge")
    assert unread() == 1
    page.click("#launcher")
    eventually(lambda: unread() == 0, what="the read mark when the chat is opened")
    assert agent.log(identifier)[-1]["status"] == "read"
    marked = agent.post(f"/api/v2/chat/conversations/{identifier}/read", {"seq": 1})
    assert marked.status == 204
    page.wait("[...ui.querySelectorAll('[data-direction=inbound]')].some((box) => box.textContent.includes('Read'))",
              "that the agent has read it")


# --- Keyboard, focus, screen readers


def test_by_keyboard_alone(shop):
    page, _ = shop()
    for _ in range(2):
        page.press(*TAB)
    assert focused(page) == "#launcher"
    page.press(*ENTER)
    page.wait("!ui.querySelector('#panel').hidden", "the open panel")
    assert focused(page) == "#composer" and page.run("ui.querySelector('#launcher').ariaExpanded") == "true"
    page.online()
    page.call("Input.insertText", text="help")
    page.press(*ENTER)
    page.wait("!!ui.querySelector('.quick-reply')", "the quick replies")
    for _ in range(20):
        page.press(*TAB, modifiers=SHIFT)
        if "quick-reply" in focused(page):
            break
    title = page.run("ui.activeElement.innerText.trim()")
    page.press(*ENTER)
    page.wait_for_bubble("inbound", title)
    assert focused(page) == "#composer"
    page.wait("[...ui.querySelectorAll('[data-seq]')].at(-1).dataset.direction === 'outbound' && ui.querySelector('#stop').hidden",
              "the whole answer, and the stop button gone with it")
    page.call("Input.insertText", text="a draft")
    page.press(*TAB)
    assert focused(page) == "#send"
    page.press(*TAB)
    assert not focused(page).startswith("#"), "beside a page there is no trap"
    page.press(*TAB, modifiers=SHIFT)
    page.press(*ESCAPE)
    page.wait("ui.querySelector('#panel').hidden", "the closed panel")
    assert focused(page) == "#launcher"
    page.press(*ENTER)
    page.wait("ui.querySelector('#composer').value === 'a draft'", "the draft being kept")
    page.must_be_content()


def test_a_chat_that_is_open_from_the_start_takes_no_focus(shop):
    page, _ = shop(open="")
    page.online()
    assert focused(page) == "body"


def test_on_a_phone_the_chat_covers_the_page_and_keeps_the_focus(shop):
    page, _ = shop(SMALL_PHONE)
    open_chat(page)
    assert page.run("ui.querySelector('#panel').ariaModal") == "true" and focused(page) == "#panel"
    box = page.run("(() => { const r = ui.querySelector('#panel').getBoundingClientRect(); return [r.x, r.y, r.width, r.height] })()")
    assert box == [0, 0, 360, 740]
    assert page.run("getComputedStyle(document.documentElement).overflow") == "hidden"
    seen = set()
    for _ in range(14):
        page.press(*TAB)
        seen.add(focused(page))
    assert all(name.startswith("#") for name in seen) and {"#close", "#composer", "#attach"} <= seen
    page.press(*TAB, modifiers=SHIFT)
    assert focused(page).startswith("#")
    page.press(*ESCAPE)
    page.wait("ui.querySelector('#panel').hidden", "the closed panel")
    assert focused(page) == "#launcher" and page.run("document.documentElement.style.overflow") == ""
    page.must_be_content()


def test_a_screen_reader_hears_each_message_once_and_whole(shop):
    page, _ = shop(open="")
    page.online()
    page.run("(() => { window.heard = []; new MutationObserver(list => list.forEach(change => change.addedNodes.forEach(node =>"
             "heard.push(node.textContent)))).observe(ui.querySelector('#announcer'), {childList: true, subtree: true,"
             "characterData: true}) })()")
    for text in ("one two three four five", "six seven eight nine ten"):
        chat(page, text)
    page.wait("heard.length === 2", "two announcements")
    assert page.run("heard") == ["Assistant: You said: one two three four five", "Assistant: You said: six seven eight nine ten"]
    assert page.run("ui.querySelector('#announcer').ariaLive") == "polite" and page.run("ui.querySelector('#log').ariaLive") == "off"
    page.must_be_content()


def test_files_are_refused_in_words(shop):
    page, _ = shop(open="")
    page.online()
    page.click("#attach")
    page.wait("ui.querySelector('#notice').innerText.includes('Files cannot be sent')", "the notice")
    assert page.run("ui.querySelector('#notice').getAttribute('role')") == "status"
    page.click("#notice-close")
    page.wait("ui.querySelector('#notice').hidden", "the notice being gone")
    assert focused(page) == "#composer"


# --- Roles, names, contrast


RICH = [
    {"type": "buttons", "text": "Which one?", "buttons": [{"id": "a", "title": "The red one"}, {"id": "b", "title": "The blue one"}]},
    {"type": "list", "text": "Where to?", "button": "Shops", "sections": [{"title": "North", "rows": [
        {"id": "n1", "title": "Harbour street", "description": "Open until eight"}, {"id": "n2", "title": "Old market"}]}]},
    {"type": "carousel", "cards": [
        {"title": "Walking shoe", "subtitle": "From light leather", "buttons": [{"id": "w", "title": "Show me"}]},
        {"title": "Rain boot", "subtitle": "Keeps dry", "buttons": [{"id": "r", "title": "Show me"}]}]},
    {"type": "quick_replies", "text": "Does that help?", "replies": [{"id": "y", "title": "Yes"}, {"id": "n", "title": "No"}]},
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name,size", [("phone", SMALL_PHONE), ("desktop", DESKTOP)])
def test_roles_names_and_contrast(shop, name, size, scheme):
    page, _ = shop(size, scheme)
    check_accessibility(page)
    page.picture(f"widget-{name}-{scheme}-closed.png")
    open_chat(page)
    page.wait("!ui.querySelector('#empty').hidden", "the greeting")
    check_accessibility(page)
    page.picture(f"widget-{name}-{scheme}-greeting.png")
    chat(page, "Do you have these in red? https://shop.example/shoes")
    for content in RICH:
        receive(page, content)
    page.wait("!!ui.querySelector('.carousel') && !!ui.querySelector('.quick-reply')", "all kinds of content")
    page.click(".bubble .choice")
    page.wait("!!ui.querySelector('.choice[aria-pressed=true]')", "the pressed choice")
    page.run("ui.querySelector('#log').scrollTo(0, 1e6)")
    check_accessibility(page)
    page.picture(f"widget-{name}-{scheme}.png")
    page.run("ui.querySelector('#log').scrollTo(0, 0)")
    page.picture(f"widget-{name}-{scheme}-top.png")
    assert page.run("ui.querySelector('#log').scrollWidth <= ui.querySelector('#log').clientWidth"), "nothing scrolls sideways"
    page.must_be_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("accent", ["#ffd400", "#0b57d0", "crimson", "#777", "#000"])
def test_any_accent_reads(shop, accent, scheme):
    page, _ = shop(scheme=scheme, accent=accent, open="")
    page.online()
    chat(page, "Look at https://shop.example")
    check_accessibility(page)
    page.picture(f"widget-accent-{accent.strip('#')}-{scheme}.png")


# --- Languages, motion, contrast, width


def test_right_to_left(shop):
    page, _ = shop(language="ar", position="left", open="")
    page.online()
    assert page.run("ui.querySelector('.frame').dir") == "rtl" and page.run("document.dir") == "", "the page's own is left alone"
    assert page.run("ui.querySelector('#launcher').ariaLabel") == "إغلاق المحادثة"
    chat(page, "مرحبا بكم")
    check_accessibility(page)
    left = "ui.querySelector('{}').getBoundingClientRect().left"
    assert page.run(left.format("#send")) < page.run(left.format("#composer")) < page.run(left.format("#attach"))
    assert page.run(left.format(".own .bubble")) < page.run(left.format(".row:not(.own) .bubble"))
    page.picture("widget-arabic.png")
    page.must_be_content()


def test_words_come_from_the_page_where_it_has_its_own(shop):
    page, _ = shop(language="de", title="Schuhhaus", greeting="Guten Tag!", placeholder="Ihre Frage", suggestions="Öffnungszeiten|Rückgabe",
                   texts="{&quot;send&quot;: &quot;Abschicken&quot;}", open="")
    page.online()
    assert page.run("ui.querySelector('#heading').innerText") == "Schuhhaus"
    assert page.run("ui.querySelector('#welcome').innerText") == "Guten Tag!"
    assert page.run("ui.querySelector('#composer').placeholder") == "Ihre Frage"
    assert page.run("[...ui.querySelectorAll('.suggestion')].map(e => e.innerText)") == ["Öffnungszeiten", "Rückgabe"]
    assert page.run("ui.querySelector('#send').ariaLabel") == "Abschicken"
    assert page.run("ui.querySelector('#status').innerText") == "Verbunden"
    page.must_be_content()


def test_less_motion_means_none(shop):
    page, _ = shop(features={"prefers_reduced_motion": "reduce"})
    open_chat(page)
    page.say("help")
    page.wait("!!ui.querySelector('.quick-reply')", "the answer")
    assert page.run("ui.getAnimations().length") == 0
    assert page.run("getComputedStyle(ui.querySelector('#panel')).animationName") == "none"


def test_with_the_systems_own_colours_shapes_have_outlines(shop):
    page, _ = shop(features={"forced_colors": "active"}, open="")
    page.online()
    chat(page)
    for selector in ("#launcher", ".bubble", "#panel"):
        assert page.run(f"parseFloat(getComputedStyle(ui.querySelector('{selector}')).borderTopWidth)") >= 1, selector
    page.picture("widget-forced-colours.png")


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_the_narrowest_screen_has_room(shop, language):
    page, _ = shop(NARROW, language=language)
    open_chat(page)
    chat(page, "a word " + "very" * 30)
    for content in RICH:
        receive(page, content)
    page.wait("!!ui.querySelector('.quick-reply')", "all kinds of content")
    assert page.run("document.documentElement.scrollWidth <= 320 && ui.querySelector('#log').scrollWidth <= 320")
    assert page.run("[...ui.querySelectorAll('button, #composer, #heading')].filter(e => e.checkVisibility() && !e.closest('.carousel'))"
                    ".every(e => { const r = e.getBoundingClientRect(); return r.left >= 0 && r.right <= 320 })")
    page.picture(f"widget-320-{language}.png")


def test_every_language_has_every_text(service):
    script = service.anonymous().get("/widget.js").text
    table = script[script.index("const TEXTS = {"):script.index("function pickLanguage")]
    languages = {}
    for code, block in re.findall(r"\n  (\w\w): \{\n(.*?)\n  \},", table, re.S):
        block = re.sub(r'"(?:[^"\\]|\\.)*"', '""', block)
        block = re.sub(r"\{[^{}]*\}", '""', block)
        languages[code] = set(re.findall(r"(\w+):", block))
    assert set(languages) == {"en", "de", "fr", "es", "ar"} and len(languages["en"]) > 70
    for code, names in languages.items():
        assert names == languages["en"], code
    used = set(re.findall(r'\bt\("(\w+)"', script))
    assert used <= languages["en"] and "greeting" in used
