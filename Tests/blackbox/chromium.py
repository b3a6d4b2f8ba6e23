"""A headless Chromium, driven through the DevTools protocol. Pictures go to `artifacts/`."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request

import pytest
from websockets.sync.client import connect as open_socket

from conftest import ARTIFACTS, eventually

PHONE, DESKTOP = (390, 844, True), (1280, 800, False)
# The chat stands in a shadow root: `ui` is that in every expression that runs in a page, and elsewhere the document.
UI = "const ui = document.querySelector('chat-widget')?.shadowRoot ?? document;"


def chromium():
    named = os.environ.get("CHROMIUM_BIN")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.fail("no Chromium: install `chromium` or name one by CHROMIUM_BIN", pytrace=False)
    return found


class Browser:
    def __init__(self, directory):
        self.directory = directory
        self.process = subprocess.Popen(
            [chromium(), "--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={directory}",
             "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-proxy-server", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = directory / "DevToolsActivePort"
        lines = eventually(lambda: port_file.exists() and len(port_file.read_text().splitlines()) >= 2
                           and port_file.read_text().splitlines(), 30, "the browser's DevTools port", every=0.05)
        self.port = int(lines[0])

    def page(self, width, height, mobile, scheme="light"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            target = json.load(answer)
        return Page(target["webSocketDebuggerUrl"], width, height, mobile, scheme)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Page:
    """One tab. Everything that the page complains about is kept in `complaints`."""

    def __init__(self, url, width, height, mobile, scheme):
        self.socket = open_socket(url, max_size=2 ** 27, proxy=None, compression=None, ping_interval=None).__enter__()
        self.numbers, self.complaints, self.network_may_fail = itertools.count(1), [], False
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if mobile else 1,
                  mobile=mobile)
        if mobile:
            self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        self.emulate(scheme)

    def emulate(self, scheme="light", **features):
        features = {"prefers-color-scheme": scheme, **{name.replace("_", "-"): value for name, value in features.items()}}
        self.call("Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in features.items()])

    def call(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        deadline = time.monotonic() + 30
        while True:
            event = json.loads(self.socket.recv(timeout=max(0.001, deadline - time.monotonic())))
            if event.get("id") == number:
                assert "error" not in event, f"{method}: {event['error']}"
                return event["result"]
            self.note(event)

    def note(self, event):
        method, parameters = event.get("method"), event.get("params", {})
        text, from_network = None, False
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            text = details.get("exception", {}).get("description") or details["text"]
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            text = " ".join(str(item.get("value", item.get("description"))) for item in parameters["args"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            entry = parameters["entry"]
            text = f"{entry['text']} {entry.get('url', '')}"
            from_network = entry["source"] in ("network", "javascript") and (
                "WebSocket" in entry["text"] or "ERR_" in entry["text"] or "Failed to load resource" in entry["text"])
            if entry.get("url", "").endswith("/favicon.ico"):
                return
        if text and not (from_network and self.network_may_fail):
            self.complaints.append(text)

    def run(self, expression):
        result = self.call("Runtime.evaluate", expression=f"(() => {{ {UI} return ({expression}) }})()", returnByValue=True,
                           awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait(self, expression, what, seconds=15):
        return eventually(lambda: self.run(expression), seconds, what, every=0.03)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.online()

    def online(self, seconds=20):
        self.wait("!!ui.querySelector('#status[data-state=online]')", "the page being online", seconds)

    def say(self, text):
        self.run("ui.querySelector('#composer').focus()")
        self.call("Input.insertText", text=text)
        self.press("Enter", 13, "\r")

    def press(self, key, code, text=None, modifiers=0):
        for kind in ("keyDown", "keyUp"):
            parameters = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "nativeVirtualKeyCode": code,
                          "modifiers": modifiers}
            if text and kind == "keyDown":
                parameters["text"] = text
            self.call("Input.dispatchKeyEvent", **parameters)

    def bubbles(self, direction):
        return self.run(f"[...ui.querySelectorAll('[data-direction={direction}]')].map(e => e.innerText.trim())")

    def wait_for_bubble(self, direction, text, seconds=20):
        return self.wait(f"[...ui.querySelectorAll('[data-direction={direction}]')]"
                         f".some(e => e.innerText.includes({json.dumps(text)}))", f"a {direction} bubble with {text!r}", seconds)

    def count(self, direction, text):
        return sum(text in bubble for bubble in self.bubbles(direction))

    def click(self, selector):
        # Animations and late layout move things: ask where it is until it stays there.
        def place():
            script = (f"(() => {{ const e = ui.querySelector({json.dumps(selector)}); if (!e) return null;"
                      "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
                      "return r.width ? [r.x + r.width / 2, r.y + r.height / 2] : null })()")
            first, second = self.run(script), self.run(script)
            return first if first and first == second else None

        x, y = eventually(place, 10, f"{selector} in its place", every=0.03)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="none" if kind == "mouseMoved" else "left",
                      clickCount=0 if kind == "mouseMoved" else 1)

    def picture(self, name):
        ARTIFACTS.mkdir(exist_ok=True)
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        assert data.startswith(b"\x89PNG") and len(data) > 3_000, "an empty picture"
        (ARTIFACTS / name).write_bytes(data)

    def must_be_content(self):
        self.run("1")  # Lets the events that are under way come in.
        assert self.complaints == []

    def close(self):
        self.socket.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser):
    pages = []

    def open_one(service, size=DESKTOP, scheme="light"):
        page = browser.page(*size, scheme)
        pages.append(page)
        page.call("Storage.clearDataForOrigin", origin=service.url, storageTypes="all")
        page.open(service.url + "/")
        return page

    yield open_one
    for page in pages:
        page.close()
