"""The web chat page in a headless Chromium. Pictures go to `artifacts/`."""

import pytest

from chromium import DESKTOP, PHONE, browser, open_page  # noqa: F401  (fixtures)

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name,size", [("phone", PHONE), ("desktop", DESKTOP)])
def test_a_visitor_chats(launch, open_page, name, size, scheme):
    page = open_page(launch(), size, scheme)
    page.say("The sky is blue")
    page.wait_for_bubble("inbound", "The sky is blue")
    page.wait_for_bubble("outbound", "You said: The sky is blue")
    assert page.run("ui.querySelector('#composer').value ?? ui.querySelector('#composer').textContent") == ""
    page.say("help")
    page.wait("!!ui.querySelector('.quick-reply')", "the quick replies")
    assert page.run("ui.getElementById('notice').hidden"), "nothing went wrong, so nothing is noted"
    page.picture(f"chat-{name}-{scheme}.png")
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth"), "nothing scrolls sideways"
    background = page.run("""(() => { for (let e = ui.querySelector('#composer'); e; e = e.parentElement) {
        const m = getComputedStyle(e).backgroundColor.match(/[\\d.]+/g).map(Number);
        if (m.length === 3 || m[3] > 0) return (m[0] + m[1] + m[2]) / 3 } return 255 })()""")
    assert background < 110 if scheme == "dark" else background > 145, f"the {scheme} scheme is obeyed"
    page.must_be_content()


def test_a_quick_reply_can_be_pressed(launch, open_page):
    page = open_page(launch())
    page.say("help")
    page.wait("!!ui.querySelector('.quick-reply')", "the quick replies")
    title = page.run("ui.querySelector('.quick-reply').innerText.trim()")
    answered = len(page.bubbles("outbound"))
    page.click(".quick-reply")
    page.wait_for_bubble("inbound", title)
    page.wait(f"ui.querySelectorAll('[data-direction=outbound]').length > {answered}", "an answer to the quick reply")
    page.must_be_content()


def test_markup_in_a_message_is_shown_and_not_run(launch, open_page):
    page = open_page(launch())
    attack = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
    page.say(attack)
    page.wait_for_bubble("inbound", attack)
    page.wait_for_bubble("outbound", attack)
    assert page.run("document.title") != "owned" and page.run("ui.querySelectorAll('[data-direction] img[src=x]').length") == 0
    page.must_be_content()


def test_a_message_of_blanks_is_not_sent(launch, open_page):
    page = open_page(launch())
    page.say("   ")
    page.say("real")
    page.wait_for_bubble("outbound", "You said: real")
    assert len(page.bubbles("inbound")) == 1
    page.must_be_content()


def test_shift_enter_makes_a_line_and_does_not_send(launch, open_page):
    page = open_page(launch())
    page.run("ui.querySelector('#composer').focus()")
    page.call("Input.insertText", text="one")
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, modifiers=8,
                  **({"text": "\r"} if kind == "keyDown" else {}))
    page.say("two")
    page.wait_for_bubble("inbound", "one\ntwo")
    assert len(page.bubbles("inbound")) == 1


def test_a_reload_shows_the_history_once_and_in_order(launch, open_page):
    page = open_page(launch())
    for number in range(3):
        page.say(f"number {number}")
        page.wait_for_bubble("outbound", f"You said: number {number}")
    before = (page.bubbles("inbound"), page.bubbles("outbound"))
    page.call("Page.reload")
    page.wait_for_bubble("outbound", "You said: number 2")
    page.online()
    assert page.run("[...ui.querySelectorAll('[data-direction=inbound]')].length") == 3
    after = (page.bubbles("inbound"), page.bubbles("outbound"))
    for number in range(3):
        assert f"number {number}" in after[0][number] and f"You said: number {number}" in after[1][number]
    assert [len(side) for side in before] == [len(side) for side in after] == [3, 3]
    page.picture("history-after-reload.png")
    page.must_be_content()


def test_the_page_outlives_a_restart_and_what_was_said_meanwhile_arrives_once(launch, open_page):
    service = launch()
    page = open_page(service)
    page.say("before")
    page.wait_for_bubble("outbound", "You said: before")
    port = service.port
    page.network_may_fail = True
    assert service.stop() == 0
    page.wait("!ui.querySelector('#status[data-state=online]')", "the page noticing the loss")
    page.say("meanwhile")
    page.wait_for_bubble("inbound", "meanwhile")
    page.picture("while-away.png")
    service.start(PORT=port)  # The page knows this address; the port was free a moment ago.
    page.online(60)
    page.network_may_fail = False
    page.wait_for_bubble("outbound", "You said: meanwhile", 30)
    page.say("after")
    page.wait_for_bubble("outbound", "You said: after")
    for text in ("before", "meanwhile", "after"):
        assert page.count("inbound", text) == 1 and page.count("outbound", f"You said: {text}") == 1, text
    page.call("Page.reload")
    page.wait_for_bubble("outbound", "You said: after")
    for text in ("before", "meanwhile", "after"):
        assert page.count("inbound", text) == 1 and page.count("outbound", f"You said: {text}") == 1, text
    reader = service.client("reader", role="service")
    logs = [reader.messages(item["id"]) for item in reader.conversations(limit=200)["data"]]
    assert sum(entry["content"].get("text") == "meanwhile" for log in logs for entry in log) == 1
    page.must_be_content()


def test_a_crash_of_the_service_is_outlived_too(launch, open_page):
    service = launch()
    page = open_page(service)
    page.say("before")
    page.wait_for_bubble("outbound", "You said: before")
    port = service.port
    page.network_may_fail = True
    service.kill()
    page.wait("!ui.querySelector('#status[data-state=online]')", "the page noticing the loss")
    service.start(PORT=port)
    page.online(60)
    page.say("after")
    page.wait_for_bubble("outbound", "You said: after")
    assert page.count("inbound", "before") == 1 and page.count("inbound", "after") == 1
    page.must_be_content()


def test_the_page_speaks_the_language_that_is_asked_for(launch, open_page):
    service = launch()
    page = open_page(service)
    assert page.run("[document.documentElement.lang, ui.querySelector('#welcome').innerText]") == ["en", "How can we help?"]
    page.open(f"{service.url}/?language=de&theme=dark&tenant=demo")
    assert page.run("[document.documentElement.lang, ui.querySelector('#welcome').innerText]") == ["de", "Wie können wir helfen?"]
    assert page.run("ui.querySelector('.frame').dataset.scheme") == "dark"
    page.open(f"{service.url}/?language=ar")
    assert page.run("document.documentElement.dir") == "rtl"
    page.picture("chat-desktop-arabic.png")
    page.must_be_content()
