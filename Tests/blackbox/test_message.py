"""POST /api/v2/chat/message and the guest token: content, limits, identity, idempotency, order, the built-in engine."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import (check_answer, check_conversation, check_problem, chunked, eventually, make_token, request_bytes,
                      texts, unique)

MESSAGE_BYTES_MAX = 65_536
UNKNOWN_CONVERSATION = "conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab"
UNKNOWN_MESSAGE = "msg_0190b1d2-7c3e-7a4b-8c5d-0123456789ab"


def text(value):
    return {"type": "text", "text": value}


def card(**changes):
    return {"title": "Card", "subtitle": "Sub", "image_url": "https://example.com/c.png",
            "buttons": [{"id": "b1", "title": "One"}], **changes}


def buttons(count):
    return [{"id": f"b{number}", "title": f"Button {number}"} for number in range(count)]


def without(content, name):
    return {key: value for key, value in content.items() if key != name}


IMAGE = {"type": "image", "url": "https://example.com/a.png", "mime_type": "image/png"}
LOCATION = {"type": "location", "latitude": 48.2082, "longitude": 16.3738}
BUTTONS = {"type": "buttons", "text": "Choose", "buttons": buttons(2)}
QUICK = {"type": "quick_replies", "text": "Choose", "replies": [{"id": "y", "title": "Yes"}, {"id": "n", "title": "No"}]}
LIST = {"type": "list", "text": "Menu", "button": "Open",
        "sections": [{"title": "Food", "rows": [{"id": "r1", "title": "Soup"}, {"id": "r2", "title": "Bread"}]}]}
CAROUSEL = {"type": "carousel", "cards": [card(), card(title="Other")]}


# --- Valid content

VALID_CONTENT = {
    "text": text("Hello"),
    "text of one character": text("x"),
    "text of 10,000 letters": text("x" * 10_000),
    "text of 10,000 scalars outside the BMP": text("😀" * 10_000),
    "text of 5,000 letters with a combining accent": text("e\u0301" * 5_000),
    "text in many scripts": text("Grüße, Привет, こんにちは, שלום, 👩‍👩‍👧‍👦, a\u200db"),
    "text with escapes": text("\"quoted\" \\ / \b \f \n \r \t \u2028 </script>"),
    "image by url": IMAGE,
    "image with everything": {**IMAGE, "filename": "a.png", "caption": "An image", "size": 1234, "width": 640, "height": 480},
    "audio": {"type": "audio", "url": "https://example.com/a.ogg", "mime_type": "audio/ogg", "duration_ms": 1500},
    "video": {"type": "video", "url": "https://example.com/v.mp4", "mime_type": "video/mp4", "width": 1, "height": 1},
    "file": {"type": "file", "url": "https://example.com/f.pdf", "mime_type": "application/pdf", "filename": "f.pdf"},
    "location": LOCATION,
    "location with a name": {**LOCATION, "name": "Vienna", "address": "Stephansplatz 1"},
    "location at the north east corner": {"type": "location", "latitude": 90, "longitude": 180},
    "location at the south west corner": {"type": "location", "latitude": -90, "longitude": -180.0},
    "location at zero": {"type": "location", "latitude": 0, "longitude": 0},
    "contact": {"type": "contact", "name": "Ada Lovelace"},
    "buttons": BUTTONS,
    "a button with a url": {**BUTTONS, "buttons": [{"id": "b", "title": "Site", "url": "https://example.com/"}]},
    "quick replies": QUICK,
    "list": LIST,
    "carousel": CAROUSEL,
    "carousel of ten cards": {"type": "carousel", "cards": [card() for _ in range(10)]},
    "card with three buttons": {"type": "carousel", "cards": [card(buttons=buttons(3))]},
    "pressed button": {"type": "reply", "id": "yes", "title": "Yes"},
    "event": {"type": "event", "name": "page_view", "data": {"path": "/pricing", "depth": {"a": [1, 2.5, None, True]}}},
}


@pytest.mark.parametrize("name", VALID_CONTENT)
def test_valid_content_is_taken_and_comes_back_as_it_was_sent(alice, name):
    content = VALID_CONTENT[name]
    answer = alice.say(content=content)
    assert answer["status"] == ("accepted" if name == "event" else "answered"), "an event is nothing to reply to"
    stored = alice.messages(answer["conversation_id"])[0]
    assert stored["id"] == answer["message"]["id"]
    for source in (answer["message"]["content"], stored["content"]):
        assert {key: source.get(key) for key in content} == content


def test_a_reaction_to_a_message_is_taken(alice):
    first = alice.say("Hello")
    response = alice.post_message(content={"type": "reaction", "message_id": first["message"]["id"], "emoji": "👍"},
                                  conversation_id=first["conversation_id"])
    assert response.status in (200, 202), repr(response)
    assert response.json["message"]["content"]["emoji"] == "👍"


def test_the_answer_has_the_whole_envelope(alice):
    response = alice.post_message("Hello", client_message_id="c-" + unique(), metadata={"page": "/", "n": 1})
    assert response.status == 200
    answer = check_answer(response)
    message = answer["message"]
    assert message["seq"] == 1 and message["channel"] == "web"
    assert message["sender"] == {**message["sender"], "type": "user", "id": alice.user}
    assert message["metadata"] == {"page": "/", "n": 1}
    assert message["client_message_id"].startswith("c-")
    assert "edited_at" not in message or message["edited_at"] is None


def test_reply_to_is_kept(alice):
    first = alice.say("Hello")
    second = alice.say("About that", reply_to=first["reply"]["id"], conversation_id=first["conversation_id"])
    assert second["message"]["reply_to"] == first["reply"]["id"]


def test_without_a_conversation_the_open_one_is_continued(alice):
    first, second = alice.say("one"), alice.say("two")
    assert first["conversation_id"] == second["conversation_id"]
    assert first["session_id"] == second["session_id"]
    assert second["message"]["seq"] > first["reply"]["seq"]


def test_another_channel_has_a_conversation_of_its_own(alice):
    web, http = alice.say("on web"), alice.say("on http", channel="http")
    assert web["conversation_id"] != http["conversation_id"]
    assert http["message"]["channel"] == "http" and http["message"]["seq"] == 1
    assert alice.say("web again")["conversation_id"] == web["conversation_id"]


def test_two_users_have_two_conversations(alice, bob):
    assert alice.say("Hello")["conversation_id"] != bob.say("Hello")["conversation_id"]


def test_unknown_fields_are_ignored_everywhere(alice):
    response = alice.post_message(content={"type": "text", "text": "Hello", "colour": "red", "deep": {"a": [1]}},
                                  unknown=True, another={"x": None})
    assert response.status == 200, repr(response)


def test_the_created_time_is_now_and_in_utc(alice):
    import datetime
    created = alice.say("Hello")["message"]["created_at"]
    moment = datetime.datetime.strptime(created, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    assert abs((datetime.datetime.now(datetime.timezone.utc) - moment).total_seconds()) < 60


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON", "application/json; charset=utf-8",
                                        "application/json;charset=UTF-8", "application/json; charset=\"utf-8\""])
def test_spellings_of_the_media_type_are_understood(alice, media_type):
    body = json.dumps(alice.message_body("Hello")).encode()
    response = alice.post("/api/v2/chat/message", body, headers={"Content-Type": media_type})
    assert response.status == 200, repr(response)


@pytest.mark.parametrize("spelling", [
    b'{"user_id":"%s","channel":"web","content":{"type":"text","text":"\\u0048\\u00e9\\ud83d\\ude00"}}',
    b' \r\n\t{ "content" : { "text" : "H\xc3\xa9\xf0\x9f\x98\x80" , "type" : "text" } , "channel" : "web", "user_id" : "%s" } \n',
])
def test_every_spelling_of_json_is_understood(alice, spelling):
    response = alice.post("/api/v2/chat/message", spelling % alice.user.encode(),
                          headers={"Content-Type": "application/json"})
    assert response.status == 200, repr(response)
    assert response.json["message"]["content"]["text"] == "Hé😀"


# --- Invalid content: 422 and a pointer

INVALID_CONTENT = [
    # text
    ({"type": "text"}, "/content/text"),
    (text(None), "/content/text"), (text(5), "/content/text"), (text([]), "/content/text"), (text({}), "/content/text"),
    (text(True), "/content/text"), (text(""), "/content/text"),
    (text("x" * 10_001), "/content/text"), (text("😀" * 10_001), "/content/text"),
    (text("e\u0301" * 5_000 + "x"), "/content/text"), (text("é" * 10_001), "/content/text"),
    # media
    (without(IMAGE, "url"), None), (without(IMAGE, "mime_type"), "/content/mime_type"),
    ({**IMAGE, "url": 5}, "/content/url"), ({**IMAGE, "url": ""}, "/content/url"),
    ({**IMAGE, "url": "not a url"}, "/content/url"), ({**IMAGE, "url": "javascript:alert(1)"}, "/content/url"),
    ({**IMAGE, "url": "file:///etc/passwd"}, "/content/url"), ({**IMAGE, "url": "//example.com/a"}, "/content/url"),
    ({**IMAGE, "mime_type": 5}, "/content/mime_type"), ({**IMAGE, "mime_type": ""}, "/content/mime_type"),
    ({**IMAGE, "mime_type": "nonsense"}, "/content/mime_type"),
    ({**IMAGE, "size": -1}, "/content/size"), ({**IMAGE, "size": "big"}, "/content/size"),
    ({**IMAGE, "size": 1.5}, "/content/size"), ({**IMAGE, "width": -1}, "/content/width"),
    ({**IMAGE, "height": "tall"}, "/content/height"), ({**IMAGE, "caption": 5}, "/content/caption"),
    ({**IMAGE, "filename": []}, "/content/filename"),
    ({"type": "audio", "url": "https://example.com/a", "mime_type": "audio/ogg", "duration_ms": -1}, "/content/duration_ms"),
    ({"type": "video", "mime_type": "video/mp4"}, None), ({"type": "file", "mime_type": "text/plain"}, None),
    # location
    (without(LOCATION, "latitude"), "/content/latitude"), (without(LOCATION, "longitude"), "/content/longitude"),
    ({**LOCATION, "latitude": 90.0001}, "/content/latitude"), ({**LOCATION, "latitude": -90.0001}, "/content/latitude"),
    ({**LOCATION, "latitude": 1e300}, "/content/latitude"), ({**LOCATION, "latitude": "48"}, "/content/latitude"),
    ({**LOCATION, "latitude": None}, "/content/latitude"), ({**LOCATION, "latitude": True}, "/content/latitude"),
    ({**LOCATION, "longitude": 180.0001}, "/content/longitude"), ({**LOCATION, "longitude": -180.0001}, "/content/longitude"),
    ({**LOCATION, "longitude": [16]}, "/content/longitude"), ({**LOCATION, "name": 5}, "/content/name"),
    ({**LOCATION, "address": {}}, "/content/address"),
    # buttons
    (without(BUTTONS, "text"), "/content/text"), (without(BUTTONS, "buttons"), "/content/buttons"),
    ({**BUTTONS, "buttons": []}, "/content/buttons"), ({**BUTTONS, "buttons": "two"}, "/content/buttons"),
    ({**BUTTONS, "buttons": ["x"]}, "/content/buttons/0"),
    ({**BUTTONS, "buttons": [{"title": "A"}]}, "/content/buttons/0/id"),
    ({**BUTTONS, "buttons": [{"id": "a"}]}, "/content/buttons/0/title"),
    ({**BUTTONS, "buttons": [{"id": "a", "title": "A"}, {"id": 5, "title": "B"}]}, "/content/buttons/1/id"),
    ({**BUTTONS, "buttons": [{"id": "a", "title": "A", "url": "javascript:1"}]}, "/content/buttons/0/url"),
    ({**BUTTONS, "text": "x" * 10_001}, "/content/text"),
    # quick replies
    (without(QUICK, "text"), "/content/text"), (without(QUICK, "replies"), "/content/replies"),
    ({**QUICK, "replies": []}, "/content/replies"), ({**QUICK, "replies": {}}, "/content/replies"),
    ({**QUICK, "replies": [{"id": "a"}]}, "/content/replies/0/title"),
    ({**QUICK, "replies": [{"title": "a"}]}, "/content/replies/0/id"),
    # list
    (without(LIST, "text"), "/content/text"), (without(LIST, "button"), "/content/button"),
    (without(LIST, "sections"), "/content/sections"), ({**LIST, "sections": []}, "/content/sections"),
    ({**LIST, "sections": 5}, "/content/sections"), ({**LIST, "sections": [5]}, "/content/sections/0"),
    # carousel
    ({"type": "carousel"}, "/content/cards"), ({"type": "carousel", "cards": []}, "/content/cards"),
    ({"type": "carousel", "cards": "many"}, "/content/cards"), ({"type": "carousel", "cards": [None]}, "/content/cards/0"),
    ({"type": "carousel", "cards": [card() for _ in range(11)]}, "/content/cards"),
    ({"type": "carousel", "cards": [without(card(), "title")]}, "/content/cards/0/title"),
    ({"type": "carousel", "cards": [card(), card(title=7)]}, "/content/cards/1/title"),
    ({"type": "carousel", "cards": [card(), card(buttons=buttons(4))]}, "/content/cards/1/buttons"),
    ({"type": "carousel", "cards": [card(buttons=[{"id": "x"}])]}, "/content/cards/0/buttons/0/title"),
    ({"type": "carousel", "cards": [card(image_url="nope")]}, "/content/cards/0/image_url"),
    # reply, reaction, event
    ({"type": "reply", "title": "Yes"}, "/content/id"), ({"type": "reply", "id": "yes"}, "/content/title"),
    ({"type": "reply", "id": 5, "title": "Yes"}, "/content/id"),
    ({"type": "reaction", "emoji": "👍"}, "/content/message_id"),
    ({"type": "reaction", "message_id": UNKNOWN_MESSAGE}, "/content/emoji"),
    ({"type": "reaction", "message_id": 5, "emoji": "👍"}, "/content/message_id"),
    ({"type": "event", "data": {}}, "/content/name"), ({"type": "event", "name": 5, "data": {}}, "/content/name"),
    # the type itself
    ({"text": "Hello"}, "/content/type"), ({"type": None, "text": "Hello"}, "/content/type"),
    ({"type": 5, "text": "Hello"}, "/content/type"), ({"type": "", "text": "Hello"}, "/content/type"),
    ({"type": "hologram", "text": "Hello"}, "/content/type"), ({"type": "TEXT", "text": "Hello"}, "/content/type"),
    ({"type": "text ", "text": "Hello"}, "/content/type"),
    ({}, "/content/type"),
]


@pytest.mark.parametrize("content,pointer", INVALID_CONTENT,
                         ids=lambda value: value if isinstance(value, str) else json.dumps(value)[:60])
def test_invalid_content_is_refused_with_a_pointer(alice, content, pointer):
    body = {**alice.message_body(), "content": content}
    problem = check_problem(alice.post("/api/v2/chat/message", body), 422, "validation_failed", pointer)
    assert problem["errors"] and all(error["pointer"].startswith("/content") for error in problem["errors"])


INVALID_FIELDS = [
    ({"user_id": ...}, "/user_id"), ({"user_id": 5}, "/user_id"), ({"user_id": ""}, "/user_id"),
    ({"user_id": None}, "/user_id"), ({"user_id": ["a"]}, "/user_id"), ({"user_id": "u" * 10_000}, "/user_id"),
    ({"channel": ...}, "/channel"), ({"channel": 5}, "/channel"), ({"channel": ""}, "/channel"),
    ({"channel": None}, "/channel"), ({"channel": "telegraph"}, "/channel"), ({"channel": "WEB"}, "/channel"),
    ({"content": ...}, "/content"), ({"content": "Hello"}, "/content"), ({"content": []}, "/content"),
    ({"content": 5}, "/content"), ({"content": True}, "/content"),
    ({"conversation_id": 5}, "/conversation_id"), ({"conversation_id": {}}, "/conversation_id"),
    ({"client_message_id": 5}, "/client_message_id"), ({"client_message_id": ""}, "/client_message_id"),
    ({"client_message_id": "k" * 10_000}, "/client_message_id"),
    ({"device_id": 5}, "/device_id"), ({"reply_to": 5}, "/reply_to"), ({"reply_to": []}, "/reply_to"),
    ({"metadata": []}, "/metadata"), ({"metadata": "x"}, "/metadata"), ({"metadata": 5}, "/metadata"),
]


@pytest.mark.parametrize("fields,pointer", INVALID_FIELDS, ids=lambda value: str(value)[:50])
def test_an_invalid_field_is_refused_with_a_pointer(backend, fields, pointer):
    body = {"user_id": unique(), "channel": "web", "content": text("Hello"), **fields}
    body = {name: value for name, value in body.items() if value is not ...}
    check_problem(backend.post("/api/v2/chat/message", body), 422, "validation_failed", pointer)


def test_every_fault_is_named_in_one_answer(alice):
    content = {"type": "location", "latitude": 91, "longitude": "east"}
    problem = check_problem(alice.post_message(content=content), 422, "validation_failed")
    assert {error["pointer"] for error in problem["errors"]} >= {"/content/latitude", "/content/longitude"}


def test_a_refused_message_leaves_nothing_behind(alice):
    conversation_id = alice.say("Hello")["conversation_id"]
    before = len(alice.log(conversation_id))
    for content, _ in INVALID_CONTENT[:20]:
        alice.post_message(content=content, conversation_id=conversation_id)
    assert len(alice.log(conversation_id)) == before


def test_a_refused_first_message_opens_no_conversation(alice):
    check_problem(alice.post_message(content=text("")), 422)
    assert alice.conversations()["data"] == []


# --- Malformed JSON, wrong media types, sizes

MALFORMED = {
    "nothing": b"", "spaces": b"  \n ", "an open brace": b"{", "a missing value": b'{"user_id":}',
    "a trailing comma": b'{"a":1,}', "single quotes": b"{'a':1}", "bare names": b"{a:1}", "a missing comma": b'{"a":1 "b":2}',
    "two documents": b'{"a":1}{"b":2}', "bytes after the end": b'{"a":1}x', "a missing colon": b'{"a" 1}',
    "an unterminated string": b'{"a":"b', "a bad escape": b'{"a":"\\x"}', "half an escape": b'{"a":"\\u12"}',
    "a raw newline in a string": b'{"a":"\n"}', "a raw NUL in a string": b'{"a":"\x00"}', "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}', "a leading zero": b'{"a":01}', "a plus sign": b'{"a":+1}', "a bare point": b'{"a":.5}',
    "a point without digits": b'{"a":1.}', "an empty exponent": b'{"a":1e}', "half a literal": b'{"a":tru}',
    "a comment": b'{"a":1}// hello', "invalid UTF-8": b'{"a":"\xff"}', "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}', "cut UTF-8": b'{"a":"\xe2\x82"}', "UTF-16": '{"a":1}'.encode("utf-16"),
    "a missing bracket": b'{"a":[1,2}', "crossed brackets": b'{"a":[1}]', "form data": b"user_id=a&text=b",
    "deep arrays": b"[" * 30_000, "deep objects": b'{"a":' * 10_000,
    "deep and closed": b"[" * 30_000 + b"]" * 30_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_json_is_refused(alice, name):
    response = alice.post("/api/v2/chat/message", MALFORMED[name], headers={"Content-Type": "application/json"})
    check_problem(response, 400, "malformed_json")


@pytest.mark.parametrize("cut", range(1, 60, 4))
def test_a_message_that_was_cut_off_is_refused(alice, cut):
    body = json.dumps(alice.message_body("Hello")).encode()[:-cut]
    check_problem(alice.post("/api/v2/chat/message", body, headers={"Content-Type": "application/json"}),
                  400, "malformed_json")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true", b"[{}]"])
def test_json_that_is_not_an_object_is_refused(alice, body):
    check_problem(alice.post("/api/v2/chat/message", body, headers={"Content-Type": "application/json"}),
                  (400, 422), ("malformed_json", "validation_failed"))


@pytest.mark.parametrize("escape", [b"\\ud800", b"\\udc00", b"\\ud800x", b"\\ud800\\u0041", b"\\udc00\\ud800"])
def test_half_a_surrogate_pair_is_refused(alice, escape):
    body = json.dumps(alice.message_body("PLACE")).encode().replace(b"PLACE", escape)
    check_problem(alice.post("/api/v2/chat/message", body, headers={"Content-Type": "application/json"}),
                  (400, 422), ("malformed_json", "validation_failed"))


@pytest.mark.parametrize("media_type", [
    "text/plain", "text/json", "application/jsonx", "application/xml", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x", "application/octet-stream", "json", "application/json; charset=utf-16", "*/*",
])
def test_another_media_type_is_refused(alice, media_type):
    body = json.dumps(alice.message_body("Hello")).encode()
    check_problem(alice.post("/api/v2/chat/message", body, headers={"Content-Type": media_type}),
                  415, "unsupported_media_type")


def padded_body(client, size):
    """A valid message of exactly `size` bytes: the padding is in a field that nobody knows."""
    body = client.message_body("Hello", padding="")
    return json.dumps({**body, "padding": "p" * (size - len(json.dumps(body)))}).encode()


@pytest.mark.parametrize("size", [MESSAGE_BYTES_MAX - 1, MESSAGE_BYTES_MAX])
def test_a_body_up_to_the_limit_is_taken(alice, size):
    body = padded_body(alice, size)
    assert len(body) == size
    response = alice.post("/api/v2/chat/message", body, headers={"Content-Type": "application/json"})
    assert response.status == 200, repr(response)


@pytest.mark.parametrize("size", [MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX + 5_000, 1_000_000])
@pytest.mark.parametrize("form", ["length", "chunked"])
def test_a_body_beyond_the_limit_is_refused(raw, alice, size, form):
    body = padded_body(alice, size)
    fields = {**alice.authorization(), "Content-Type": "application/json"}
    if form == "chunked":
        fields["Transfer-Encoding"] = "chunked"
        body = chunked(body, 1000)
    connection = raw()
    connection.send_leniently(request_bytes("POST", "/api/v2/chat/message", fields, body))
    check_problem(connection.response(), 413, "payload_too_large")


def test_the_limit_can_be_configured(launch):
    service = launch(MAX_MESSAGE_BYTES=500)
    client = service.client()
    headers = {"Content-Type": "application/json"}
    assert client.post("/api/v2/chat/message", padded_body(client, 500), headers=headers).status == 200
    check_problem(client.post("/api/v2/chat/message", padded_body(client, 501), headers=headers),
                  413, "payload_too_large")
    assert service.stop() == 0


# --- Who may say what, where


def test_an_end_user_may_not_speak_for_another(alice, bob):
    check_problem(alice.post_message("I am Bob", user_id=bob.user), 403, "forbidden")
    assert bob.conversations()["data"] == []


@pytest.mark.parametrize("change", [lambda user: user.upper(), lambda user: user + " ", lambda user: user + "\u0000",
                                    lambda user: user[:-1], lambda user: user + "x"])
def test_a_user_id_is_compared_exactly(alice, change):
    check_problem(alice.post_message("Hello", user_id=change(alice.user)), (403, 422), ("forbidden", "validation_failed"))


def test_a_service_may_speak_for_any_user(backend, alice):
    answer = backend.say("For Alice", user_id=alice.user)
    assert answer["message"]["sender"]["id"] == alice.user
    assert alice.say("Myself")["conversation_id"] == answer["conversation_id"]


def test_the_tenant_header_must_agree_with_the_token(alice):
    check_problem(alice.post_message("Hello", headers={"X-Tenant-ID": "acme"}), 403, "tenant_mismatch")
    check_problem(alice.get("/api/v2/chat/conversations", headers={"X-Tenant-ID": "acme"}), 403, "tenant_mismatch")
    check_problem(alice.post_message("Hello", headers={"X-Tenant-ID": "Demo"}), 403, "tenant_mismatch")
    assert alice.post_message("Hello", headers={"X-Tenant-ID": "demo"}).status == 200


def test_another_users_conversation_cannot_be_read_or_written(alice, bob):
    conversation_id = alice.say("Private")["conversation_id"]
    bob.say("Hello")
    check_problem(bob.get(f"/api/v2/chat/conversations/{conversation_id}"), 404, "not_found")
    check_problem(bob.post_message("Intrusion", conversation_id=conversation_id), 404, "not_found")
    assert [item["id"] for item in bob.conversations()["data"]].count(conversation_id) == 0
    assert texts(alice.messages(conversation_id), "inbound") == ["Private"]


def test_a_refusal_does_not_tell_whether_a_conversation_exists(alice, bob):
    conversation_id = alice.say("Private")["conversation_id"]
    existing = bob.get(f"/api/v2/chat/conversations/{conversation_id}").json
    missing = bob.get(f"/api/v2/chat/conversations/{UNKNOWN_CONVERSATION}").json
    for field in ("type", "title", "status", "code"):
        assert existing[field] == missing[field]
    assert existing["detail"].replace(conversation_id, "ID") == missing["detail"].replace(UNKNOWN_CONVERSATION, "ID")


@pytest.mark.parametrize("conversation_id", [
    UNKNOWN_CONVERSATION, "conv_", "conv", "", "x", "msg_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", "conv_" + "z" * 36,
    "conv_" + "0" * 5_000, "../../etc/passwd", "conv_'; DROP TABLE messages; --", "conv_\u0000", "conv_😀"])
def test_a_message_to_a_conversation_that_does_not_exist_is_refused(alice, conversation_id):
    check_problem(alice.post_message("Hello", conversation_id=conversation_id), (404, 422), ("not_found", "validation_failed"))
    assert alice.conversations()["data"] == []


def test_two_tenants_never_see_each_other(service):
    name = unique("same-name")
    demo, acme = service.client(name, "demo"), service.client(name, "acme")
    acme_backend = service.client("backend", "acme", "service")
    mine, theirs = demo.say("in demo"), acme.say("in acme")
    assert mine["conversation_id"] != theirs["conversation_id"]
    for outsider in (acme, acme_backend, service.client("agent", "acme", "agent"), service.client("root", "acme", "admin")):
        check_problem(outsider.get(f"/api/v2/chat/conversations/{mine['conversation_id']}"), 404, "not_found")
        listed = outsider.conversations(limit=200)["data"]
        assert mine["conversation_id"] not in [item["id"] for item in listed]
        assert all(item["user_id"] != demo.user or item["id"] == theirs["conversation_id"] for item in listed)
    check_problem(acme.post_message("Hello", conversation_id=mine["conversation_id"]), 404, "not_found")
    check_problem(acme_backend.post_message("Hello", user_id=name, conversation_id=mine["conversation_id"]), 404, "not_found")
    assert texts(demo.messages(mine["conversation_id"]), "inbound") == ["in demo"]


# --- Guests


def guest(service, **body):
    return service.anonymous().post("/api/v2/auth/guest", {"tenant_id": "demo", **body})


def guest_client(service, response):
    assert response.status in (200, 201), repr(response)
    granted = response.json
    return service.client(granted["user_id"], token=granted["token"])


def test_a_guest_gets_a_token_that_works_at_once(service):
    response = guest(service)
    client = guest_client(service, response)
    assert response.json["expires_at"].endswith("Z") and client.user
    answer = client.say("Hello")
    assert [item["id"] for item in client.conversations()["data"]] == [answer["conversation_id"]]
    check_problem(client.post_message("I am Alice", user_id="alice"), 403, "forbidden")


def test_two_guests_are_two_users_and_do_not_see_each_other(service):
    first, second = (guest_client(service, guest(service)) for _ in range(2))
    assert first.user != second.user
    conversation_id = first.say("Private")["conversation_id"]
    check_problem(second.get(f"/api/v2/chat/conversations/{conversation_id}"), 404, "not_found")
    assert second.conversations()["data"] == []


def test_a_guest_cannot_take_over_a_user_by_naming_him(service, alice):
    conversation_id = alice.say("Private")["conversation_id"]
    response = guest(service, user_id=alice.user)
    if response.status not in (200, 201):
        check_problem(response, (403, 409, 422))
        return
    intruder = guest_client(service, response)
    assert intruder.get(f"/api/v2/chat/conversations/{conversation_id}").status == 404
    assert intruder.conversations()["data"] == []


@pytest.mark.parametrize("body,status", [
    ({"tenant_id": "acme"}, 403), ({"tenant_id": "nobody-has-this"}, (403, 404)), ({}, 422), ({"tenant_id": 5}, 422),
    ({"tenant_id": ""}, (403, 404, 422)), ({"tenant_id": None}, 422), ({"tenant_id": ["demo"]}, 422),
    ({"tenant_id": "demo' OR '1'='1"}, (403, 404, 422)), ({"tenant_id": "demo", "user_id": 5}, 422),
    ({"tenant_id": "demo", "user_id": "u" * 10_000}, 422),
], ids=str)
def test_a_guest_is_refused(service, body, status):
    response = service.anonymous().post("/api/v2/auth/guest", body)
    check_problem(response, status)
    assert "token" not in response.json


# --- Idempotency


@pytest.mark.parametrize("by", ["header", "field"])
def test_the_same_key_gives_the_same_answer(alice, by):
    key = unique("key")
    options = {"headers": {"Idempotency-Key": key}} if by == "header" else {"client_message_id": key}
    first = alice.post_message("Once", **options)
    assert first.status == 200 and first.header("Idempotency-Replayed") is None
    for _ in range(3):
        again = alice.post_message("Once", **options)
        assert again.status == 200 and again.header("Idempotency-Replayed") == "true"
        assert again.json == first.json
    assert texts(alice.messages(first.json["conversation_id"]), "inbound") == ["Once"]
    assert len(texts(alice.messages(first.json["conversation_id"]), "outbound")) == 1


def test_the_order_of_fields_does_not_make_another_body(alice):
    key = unique("key")
    body = alice.message_body("Once", metadata={"a": 1, "b": 2})
    first = alice.post("/api/v2/chat/message", body, headers={"Idempotency-Key": key})
    turned = {**dict(reversed(body.items())), "metadata": {"b": 2, "a": 1}}
    again = alice.post("/api/v2/chat/message", turned, headers={"Idempotency-Key": key})
    assert (again.status, again.header("Idempotency-Replayed")) == (200, "true"), repr(again)
    assert again.json["message"]["id"] == first.json["message"]["id"]


@pytest.mark.parametrize("by", ["header", "field"])
@pytest.mark.parametrize("change", [{"text": "Twice"}, {"content": LOCATION}, {"text": "Once "}], ids=str)
def test_another_body_under_the_same_key_is_refused(alice, by, change):
    key = unique("key")
    options = {"headers": {"Idempotency-Key": key}} if by == "header" else {"client_message_id": key}
    first = alice.post_message("Once", **options).json
    check_problem(alice.post_message(**{"text": "Once", **change}, **options), 422, "idempotency_mismatch")
    assert texts(alice.messages(first["conversation_id"]), "inbound") == ["Once"]


def test_a_refused_message_does_not_burn_its_key(alice):
    key = unique("key")
    check_problem(alice.post_message("", headers={"Idempotency-Key": key}), 422, "validation_failed")
    response = alice.post_message("Better", headers={"Idempotency-Key": key})
    assert response.status == 200 and response.header("Idempotency-Replayed") is None


@pytest.mark.parametrize("key", ["k" * 10_000, ""])
def test_a_key_that_is_no_key_is_refused(alice, key):
    check_problem(alice.post_message("Hello", headers={"Idempotency-Key": key}), (400, 422))


def test_a_key_belongs_to_its_tenant(service):
    key, name = unique("key"), unique()
    answers = [service.client(name, tenant).post_message(f"in {tenant}", headers={"Idempotency-Key": key})
               for tenant in ("demo", "acme")]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[1].header("Idempotency-Replayed") is None
    assert answers[1].json["message"]["content"]["text"] == "in acme"


def test_a_key_of_another_user_never_shows_his_message(alice, bob):
    key = unique("key")
    alice.post_message("Secret of Alice", headers={"Idempotency-Key": key})
    response = bob.post_message("Secret of Alice", user_id=bob.user, headers={"Idempotency-Key": key})
    assert alice.user not in response.text
    if response.status != 200:
        check_problem(response, (409, 422), ("idempotency_mismatch", "conflict"))


def test_concurrent_duplicates_are_stored_once(alice):
    for round_number in range(5):
        key, text_of_round = unique("key"), f"racing {round_number}"
        gate = threading.Barrier(12)

        def race(_):
            client = alice.twin()
            gate.wait()
            response = client.post_message(text_of_round, headers={"Idempotency-Key": key})
            client.close()
            return response

        with ThreadPoolExecutor(12) as pool:
            responses = list(pool.map(race, range(12)))
        done = [response for response in responses if response.status == 200]
        for response in responses:
            if response.status != 200:
                check_problem(response, 409, "conflict")
        assert done, "one of the duplicates must be answered"
        assert len({response.json["message"]["id"] for response in done}) == 1
        assert sum(response.header("Idempotency-Replayed") is None for response in done) == 1
        settled = alice.post_message(text_of_round, headers={"Idempotency-Key": key})
        assert (settled.status, settled.header("Idempotency-Replayed")) == (200, "true")
        conversation_id = settled.json["conversation_id"]
    stored = texts(alice.messages(conversation_id), "inbound")
    assert sorted(stored) == [f"racing {number}" for number in range(5)]


@pytest.mark.parametrize("goodbye", ["stop", "kill"])
def test_a_key_is_remembered_across_a_restart(launch, goodbye):
    service = launch()
    client = service.client()
    key = unique("key")
    first = client.post_message("Once", headers={"Idempotency-Key": key})
    assert first.status == 200
    client.close()
    getattr(service, goodbye)()
    service.start()
    again = client.post_message("Once", headers={"Idempotency-Key": key})
    assert (again.status, again.header("Idempotency-Replayed")) == (200, "true")
    assert again.json == first.json
    check_problem(client.post_message("Twice", headers={"Idempotency-Key": key}), 422, "idempotency_mismatch")
    assert texts(client.messages(first.json["conversation_id"]), "inbound") == ["Once"]
    following = client.say("Next")
    assert following["conversation_id"] == first.json["conversation_id"]
    assert following["message"]["seq"] > first.json["reply"]["seq"]


# --- Prefer: respond-async


@pytest.mark.parametrize("value", ["respond-async", "Respond-Async", "respond-async, wait=10", "wait=10, respond-async"])
def test_an_asynchronous_request_is_accepted_and_its_reply_comes_later(alice, value):
    response = alice.post_message("Hello", headers={"Prefer": value})
    assert response.status == 202, repr(response)
    answer = check_answer(response)
    assert answer["status"] == "accepted"
    eventually(lambda: texts(alice.messages(answer["conversation_id"]), "outbound"), what="the reply in the history")
    entries = alice.messages(answer["conversation_id"])
    assert [entry["direction"] for entry in entries] == ["inbound", "outbound"]


@pytest.mark.parametrize("value", ["respond-sync", "respond-asynchronously", "", "return=minimal"])
def test_another_preference_is_ignored(alice, value):
    assert alice.post_message("Hello", headers={"Prefer": value}).status == 200


def test_an_accepted_message_is_replayed_as_it_was_answered(alice):
    key = unique("key")
    headers = {"Prefer": "respond-async", "Idempotency-Key": key}
    first = alice.post_message("Once", headers=headers)
    again = alice.post_message("Once", headers=headers)
    assert first.status == again.status == 202 and again.header("Idempotency-Replayed") == "true"
    assert again.json["message"]["id"] == first.json["message"]["id"]


# --- The built-in engine


def reply_text(answer):
    content = answer["reply"]["content"]
    assert isinstance(content.get("text"), str) and content["text"].strip(), answer
    return content["text"]


@pytest.mark.parametrize("greeting", ["hello", "Hello", "hi", "Hello!"])
def test_a_greeting_is_greeted(alice, greeting):
    assert not reply_text(alice.say(greeting)).startswith("You said")


@pytest.mark.parametrize("request_text", ["help", "Help", "HELP"])
def test_help_offers_quick_replies(alice, request_text):
    content = alice.say(request_text)["reply"]["content"]
    assert content["type"] == "quick_replies" and content["text"]
    assert len(content["replies"]) >= 2 and all(reply["id"] and reply["title"] for reply in content["replies"])


def test_every_quick_reply_of_help_leads_on(service):
    client = service.client()
    replies = client.say("help")["reply"]["content"]["replies"]
    for reply in replies:
        visitor = service.client()
        visitor.say("help")
        response = visitor.post_message(content={"type": "reply", "id": reply["id"], "title": reply["title"]})
        assert response.status in (200, 202), repr(response)
        assert check_answer(response)["message"]["content"]["id"] == reply["id"]
        visitor.close()


@pytest.mark.parametrize("request_text", ["order status", "Where is my order?", "order status 12345"])
def test_the_order_status_speaks_of_the_order(alice, request_text):
    reply = reply_text(alice.say(request_text))
    assert "order" in reply.lower() and not reply.startswith("You said")


@pytest.mark.parametrize("said", ["The sky is blue", "Ünïcödé 😀", "x", "a  b", "<b>bold</b> & \"quoted\"",
                                  "line\nbreak", "w " * 3000 + "end"], ids=lambda value: value[:12])
def test_anything_else_is_echoed(alice, said):
    assert reply_text(alice.say(said)) == f"You said: {said}"


def test_the_engine_answers_the_same_to_the_same(service):
    for said in ("hello", "help", "order status", "The sky is blue"):
        first, second = (service.client().say(said)["reply"]["content"] for _ in range(2))
        assert first == second


@pytest.mark.parametrize("request_text", ["agent", "human", "I want to talk to a human", "Agent please"])
def test_asking_for_a_person_hands_the_conversation_over(alice, request_text):
    opening = alice.say("Hello")
    conversation_id = opening["conversation_id"]
    before = check_conversation(alice.conversation(conversation_id)["conversation"])
    assert before["handler"]["type"] == "bot"
    response = alice.post_message(request_text)
    assert response.status in (200, 202), repr(response)
    after = eventually(lambda: (lambda found: found["handler"]["type"] == "human" and found)(
        alice.conversation(conversation_id)["conversation"]), what="the handoff")
    assert after["handler"]["token"] > before["handler"]["token"], "a handoff raises the fencing token"
    assert after["version"] > before["version"]
    outbound = len(texts(alice.messages(conversation_id), "outbound"))
    for number in range(3):
        response = alice.post_message(f"Is anybody there? {number}")
        assert response.status == 202, repr(response)
        assert check_answer(response)["status"] == "accepted"
    entries = alice.messages(conversation_id)
    assert len(texts(entries, "outbound")) == outbound, "no bot answer lands after a human took over"
    assert texts(entries, "inbound")[-1] == "Is anybody there? 2"


# --- Order


def test_concurrent_senders_leave_no_gap_and_lose_nothing(service, backend):
    user, senders, each = unique(), 32, 10
    conversation_id = backend.say("Hello", user_id=user)["conversation_id"]

    def send(sender):
        client, answers = backend.twin(), []
        for number in range(each):
            answers.append(client.say(f"sender {sender} number {number}", user_id=user, conversation_id=conversation_id,
                                      headers={"Prefer": "respond-async"} if number % 2 else {}))
        client.close()
        return answers

    with ThreadPoolExecutor(senders) as pool:
        answers = [answer for list_of_one in pool.map(send, range(senders)) for answer in list_of_one]
    assert len({answer["message"]["seq"] for answer in answers}) == senders * each
    eventually(lambda: len(texts(backend.messages(conversation_id), "outbound")) >= senders * each + 1, 30,
               "a reply to each message")
    entries = backend.log(conversation_id)  # Checks that seq is gap-free from 1.
    by_id = {entry["id"]: entry for entry in entries}
    assert len(by_id) == len(entries), "ids are unique"
    for answer in answers:
        stored = by_id[answer["message"]["id"]]
        assert stored["seq"] == answer["message"]["seq"] and stored["content"] == answer["message"]["content"]
    for sender in range(senders):
        own = [text for text in texts(entries, "inbound") if text.startswith(f"sender {sender} ")]
        assert own == [f"sender {sender} number {number}" for number in range(each)], "a sender's order holds"
    replies = texts(entries, "outbound")
    for answer in answers:
        assert replies.count(f"You said: {answer['message']['content']['text']}") == 1


def test_concurrent_first_messages_of_one_user_open_one_conversation(service):
    user, gate = service.client(), threading.Barrier(8)

    def send(number):
        client = user.twin()
        gate.wait()
        return client.say(f"first {number}")["conversation_id"]

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(send, range(8)))
    assert len(found) == 1
    assert len(user.conversations()["data"]) == 1


# --- Never an internal error

HOSTILE = [
    {"user_id": "\u0000", "channel": "web", "content": text("x")}, {"content": text("\u0000")},
    {"content": text("\ufffe\uffff")}, {"content": text("\u202e" * 100)}, {"metadata": {"x" * 5_000: "y" * 5_000}},
    {"metadata": {"__proto__": {"a": 1}}}, {"metadata": {str(n): n for n in range(3_000)}},
    {"metadata": {"n": 10 ** 40}}, {"metadata": {"n": 1e308}}, {"metadata": {"n": -0.0}}, {"metadata": {"": ""}},
    {"metadata": {"a": [[[[[[[[[[1]]]]]]]]]]}}, {"reply_to": "msg_'"}, {"reply_to": UNKNOWN_MESSAGE},
    {"device_id": "d" * 5_000}, {"device_id": "\n"}, {"client_message_id": "a\u0000b"}, {"client_message_id": "😀" * 50},
    {"content": {"type": "event", "name": "n" * 5_000, "data": None}}, {"channel": "web\u0000"},
    {"content": {"type": "reaction", "message_id": UNKNOWN_MESSAGE, "emoji": "👍"}},
    {"content": {"type": "reaction", "message_id": UNKNOWN_MESSAGE, "emoji": "x" * 5_000}},
]


@pytest.mark.parametrize("fields", HOSTILE, ids=lambda value: json.dumps(value)[:50])
def test_hostile_values_never_make_an_internal_error(alice, fields):
    body = {**alice.message_body("Hello"), **fields}
    response = alice.post("/api/v2/chat/message", json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    if response.status in (200, 202):
        answer = check_answer(response)
        assert alice.log(answer["conversation_id"])[0]["content"] == body["content"]
        assert answer["message"]["metadata"] == body.get("metadata", {})
    else:
        check_problem(response, (400, 403, 404, 413, 422))


def test_a_repeated_field_is_refused_or_one_of_its_values(alice):
    body = (f'{{"user_id":"{alice.user}","user_id":"somebody-else","channel":"web",'
            '"content":{"type":"text","text":"Hello"}}').encode()
    response = alice.post("/api/v2/chat/message", body, headers={"Content-Type": "application/json"})
    if response.status == 200:
        assert response.json["message"]["sender"]["id"] == alice.user, "whichever is checked must be the one that is used"
    else:
        check_problem(response, (400, 403, 422))


def test_a_token_for_a_tenant_that_does_not_exist_is_refused(service):
    stranger = service.client("x", token=make_token("x", tenant="nobody-has-this"))
    check_problem(stranger.post_message("Hello", user_id="x"), (401, 403))
