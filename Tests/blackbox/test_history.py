"""Reading: one conversation's log and the list of conversations, by cursor, by seq, both ways, filtered."""

import pytest

from conftest import check_conversation, check_message, check_page, check_problem, texts, unique

LIMITS_THAT_ARE_NONE = ["0", "201", "-1", "x", "", "1.5", "1e2", "0x10", " 5", "99999999999999999999", "５"]
CURSORS_THAT_ARE_NONE = ["garbage", "x" * 5_000, "AAAA", "e30=", "eyJzZXEiOi0xfQ==", "../..", "%00", "'; DROP TABLE x", "😀"]


class Archive:
    """A conversation of more entries than one page holds, made once."""

    def __init__(self, service):
        self.client = service.client()
        self.id = self.client.handed_to_human()
        for number in range(130):
            self.client.say(f"entry {number}", conversation_id=self.id)
        self.entries = self.client.log(self.id)
        self.seqs = [entry["seq"] for entry in self.entries]
        self.head = self.seqs[-1]

    def page(self, **query):
        return self.client.conversation(self.id, **query)


@pytest.fixture(scope="module")
def archive(shared_service):
    return Archive(shared_service)


class Shelf:
    """A user of a tenant's backend with conversations on several channels, and users beside him."""

    def __init__(self, service):
        self.backend = service.client("backend", role="service")
        self.users = [unique("shelf") for _ in range(14)]
        self.ids = {}
        for user in self.users:
            for channel in ("web", "http"):
                self.ids[user, channel] = self.backend.say("Hello", user_id=user, channel=channel)["conversation_id"]
        self.own = set(self.ids.values())


@pytest.fixture(scope="module")
def shelf(shared_service):
    return Shelf(shared_service)


def walk(read, order, limit, cursor_name="next_cursor"):
    """All pages until there are no more; bounded, so that a cursor that does not move is a failure."""
    pages, cursor = [], None
    for _ in range(2_000):
        query = {"order": order, "limit": limit}
        if cursor:
            query["cursor"] = cursor
        page = read(**query)
        check_page(page["page"])
        assert len(page["data"]) <= limit
        pages.append(page)
        if not page["page"]["has_more"]:
            return pages
        assert page["data"], "an empty page says that there is more"
        cursor = page["page"][cursor_name]
    raise AssertionError("paging never ends")


# --- One conversation


def test_a_conversation_is_answered_with_its_messages_and_a_page(archive):
    answer = archive.page(limit=10, order="asc")
    conversation = check_conversation(answer["conversation"])
    assert conversation["id"] == archive.id and conversation["user_id"] == archive.client.user
    assert conversation["last_seq"] == archive.head and conversation["channel"] == "web"
    check_page(answer["page"])
    for entry in answer["data"]:
        assert entry["conversation_id"] == archive.id
        if entry["kind"] == "message":
            check_message(entry)


def test_a_message_reads_as_it_was_answered(alice):
    answer = alice.say("Hello", metadata={"a": 1})
    first = alice.messages(answer["conversation_id"])
    for field in ("id", "seq", "content", "sender", "direction", "created_at", "metadata", "channel"):
        assert first[0][field] == answer["message"][field]
        assert first[1][field] == answer["reply"][field]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7, 50, 199, 200])
def test_every_entry_comes_once_by_cursor(archive, order, limit):
    pages = walk(archive.page, order, limit)
    seqs = [entry["seq"] for page in pages for entry in page["data"]]
    assert seqs == (archive.seqs if order == "asc" else archive.seqs[::-1])


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_previous_cursor_leads_back(archive, order):
    first = archive.page(order=order, limit=10)
    second = archive.page(order=order, limit=10, cursor=first["page"]["next_cursor"])
    back = archive.page(order=order, limit=10, cursor=second["page"]["prev_cursor"])
    assert [entry["seq"] for entry in back["data"]] == [entry["seq"] for entry in first["data"]]


def test_a_page_holds_fifty_by_default(archive):
    assert len(archive.page()["data"]) == 50


@pytest.mark.parametrize("limit", [1, 2, 50, 100, 200])
def test_a_limit_is_obeyed(archive, limit):
    assert len(archive.page(limit=limit)["data"]) == min(limit, len(archive.entries))


@pytest.mark.parametrize("after", [0, 1, 2, 63, 64])
@pytest.mark.parametrize("limit", [1, 20, 200])
def test_after_seq_gives_what_follows(archive, after, limit):
    page = archive.page(order="asc", after_seq=after, limit=limit)
    assert [entry["seq"] for entry in page["data"]] == [seq for seq in archive.seqs if seq > after][:limit]
    assert page["page"]["has_more"] == (len([seq for seq in archive.seqs if seq > after]) > limit)


@pytest.mark.parametrize("before", [1, 2, 3, 64, 10 ** 9])
@pytest.mark.parametrize("limit", [1, 20, 200])
def test_before_seq_gives_what_came_before(archive, before, limit):
    page = archive.page(order="desc", before_seq=before, limit=limit)
    expected = [seq for seq in archive.seqs[::-1] if seq < before][:limit]
    assert [entry["seq"] for entry in page["data"]] == expected


def test_after_and_before_together_cut_a_window(archive):
    page = archive.page(order="asc", after_seq=10, before_seq=21, limit=200)
    assert [entry["seq"] for entry in page["data"]] == list(range(11, 21))


@pytest.mark.parametrize("distance", [0, 1, 1_000])
def test_beyond_the_head_there_is_nothing(archive, distance):
    page = archive.page(order="asc", after_seq=archive.head + distance)
    assert page["data"] == [] and page["page"]["has_more"] is False


def test_paging_goes_on_over_messages_that_arrive_meanwhile(alice):
    conversation_id = alice.handed_to_human()
    for number in range(10):
        alice.say(f"early {number}", conversation_id=conversation_id)
    seqs, cursor = [], None
    for turn in range(100):
        query = {"order": "asc", "limit": 3, **({"cursor": cursor} if cursor else {})}
        page = alice.conversation(conversation_id, **query)
        seqs += [entry["seq"] for entry in page["data"]]
        if turn < 4:
            alice.say(f"late {turn}", conversation_id=conversation_id)
        if not page["page"]["has_more"] and turn >= 4:
            break
        cursor = page["page"]["next_cursor"] or cursor
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) == alice.conversation(conversation_id)["conversation"]["last_seq"]


@pytest.mark.parametrize("limit", LIMITS_THAT_ARE_NONE)
@pytest.mark.parametrize("what", ["conversation", "list"])
def test_a_limit_that_is_none_is_refused(archive, limit, what):
    path = "/api/v2/chat/conversations" + (f"/{archive.id}" if what == "conversation" else "")
    check_problem(archive.client.get(path, query={"limit": limit}), 422, "validation_failed")


@pytest.mark.parametrize("cursor", CURSORS_THAT_ARE_NONE)
@pytest.mark.parametrize("what", ["conversation", "list"])
def test_a_cursor_that_is_none_is_refused(archive, cursor, what):
    path = "/api/v2/chat/conversations" + (f"/{archive.id}" if what == "conversation" else "")
    check_problem(archive.client.get(path, query={"cursor": cursor}), (400, 422))


def test_a_cursor_that_was_tampered_with_is_refused_or_harmless(archive):
    cursor = archive.page(order="asc", limit=5)["page"]["next_cursor"]
    for position in range(0, len(cursor), max(1, len(cursor) // 12)):
        changed = cursor[:position] + ("A" if cursor[position] != "A" else "B") + cursor[position + 1:]
        response = archive.client.get(f"/api/v2/chat/conversations/{archive.id}", query={"order": "asc", "cursor": changed})
        if response.status == 200:
            assert all(entry["conversation_id"] == archive.id for entry in response.json["data"])
        else:
            check_problem(response, (400, 422))


def test_a_cursor_of_one_conversation_opens_no_other(archive, alice):
    conversation_id = alice.say("Hello")["conversation_id"]
    cursor = archive.page(order="asc", limit=5)["page"]["next_cursor"]
    response = alice.get(f"/api/v2/chat/conversations/{conversation_id}", query={"order": "asc", "cursor": cursor})
    if response.status == 200:
        assert all(entry["conversation_id"] == conversation_id for entry in response.json["data"])
    else:
        check_problem(response, (400, 422))


@pytest.mark.parametrize("query", [
    {"order": "sideways"}, {"order": ""}, {"order": "ASC "}, {"after_seq": "-1"}, {"after_seq": "x"}, {"after_seq": ""},
    {"after_seq": "1.5"}, {"after_seq": "99999999999999999999999"}, {"before_seq": "-1"}, {"before_seq": "x"},
    {"before_seq": "1e3"}, {"before_seq": "99999999999999999999999"},
], ids=str)
def test_a_query_that_makes_no_sense_is_refused(archive, query):
    check_problem(archive.client.get(f"/api/v2/chat/conversations/{archive.id}", query=query), 422, "validation_failed")


@pytest.mark.parametrize("conversation_id", [
    "conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", "conv_", "x", "conv_%00", "conv_" + "9" * 3_000, "%2e%2e%2fmessage",
    "msg_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", "conv_%F0%9F%98%80", "conv_%FF"])
def test_a_conversation_that_does_not_exist_is_not_found(alice, conversation_id):
    check_problem(alice.get(f"/api/v2/chat/conversations/{conversation_id}"), (404, 422), ("not_found", "validation_failed"))


def test_unknown_query_fields_are_ignored(archive):
    assert len(archive.page(limit=3, colour="red")["data"]) == 3


# --- The list


def test_the_list_has_its_shape(shelf):
    answer = shelf.backend.conversations(limit=200, user_id=shelf.users[0])
    check_page(answer["page"])
    assert len(answer["data"]) == 2
    for conversation in answer["data"]:
        check_conversation(conversation)
        assert conversation["user_id"] == shelf.users[0] and conversation["status"] == "open"
        assert conversation["last_seq"] >= 2


def test_a_new_user_has_an_empty_list(alice):
    answer = alice.conversations()
    assert answer["data"] == [] and check_page(answer["page"])["has_more"] is False


def test_an_end_user_sees_only_his_own(alice, bob):
    mine = alice.say("Hello")["conversation_id"]
    bob.say("Hello")
    assert [item["id"] for item in alice.conversations(limit=200)["data"]] == [mine]


def test_an_end_user_cannot_list_anothers(alice, bob):
    theirs = bob.say("Hello")["conversation_id"]
    response = alice.get("/api/v2/chat/conversations", query={"user_id": bob.user})
    if response.status == 200:
        assert theirs not in [item["id"] for item in response.json["data"]] and response.json["data"] == []
    else:
        check_problem(response, 403, "forbidden")


def test_an_agent_sees_the_conversations_of_his_tenant(agent, shelf):
    found = {item["id"] for item in agent.conversations(user_id=shelf.users[3])["data"]}
    assert found == {shelf.ids[shelf.users[3], "web"], shelf.ids[shelf.users[3], "http"]}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 5, 200])
def test_every_conversation_comes_once_by_cursor(shelf, order, limit):
    if limit == 1:
        read = lambda **query: shelf.backend.conversations(user_id=shelf.users[0], **query)
        expected = {shelf.ids[shelf.users[0], channel] for channel in ("web", "http")}
    else:
        read, expected = shelf.backend.conversations, shelf.own
    found = [item["id"] for page in walk(read, order, limit) for item in page["data"]]
    assert len(found) == len(set(found)), "a conversation came twice"
    assert expected <= set(found)
    if limit == 1:
        assert set(found) == expected


def test_the_two_orders_are_each_others_reverse(shelf):
    both = [[item["id"] for item in shelf.backend.conversations(user_id=shelf.users[1], order=order)["data"]]
            for order in ("asc", "desc")]
    assert len(both[0]) == 2 and both[0] == both[1][::-1]


@pytest.mark.parametrize("channel", ["web", "http"])
def test_the_channel_filter_holds(shelf, channel):
    for user in shelf.users[:3]:
        found = shelf.backend.conversations(user_id=user, channel=channel)["data"]
        assert [item["id"] for item in found] == [shelf.ids[user, channel]]
    assert all(item["channel"] == channel for item in shelf.backend.conversations(channel=channel, limit=200)["data"])


def test_a_channel_without_conversations_gives_an_empty_list(shelf):
    assert shelf.backend.conversations(user_id=shelf.users[0], channel="voice")["data"] == []


def test_the_status_filter_holds(shelf):
    user = shelf.users[2]
    assert {item["id"] for item in shelf.backend.conversations(user_id=user, status="open")["data"]} == {
        shelf.ids[user, "web"], shelf.ids[user, "http"]}
    for status in ("closed", "snoozed"):
        assert shelf.backend.conversations(user_id=user, status=status)["data"] == []


def test_filters_hold_on_every_page(shelf):
    pages = walk(lambda **query: shelf.backend.conversations(channel="http", **query), "asc", 4)
    found = [item for page in pages for item in page["data"]]
    assert all(item["channel"] == "http" for item in found)
    assert {shelf.ids[user, "http"] for user in shelf.users} <= {item["id"] for item in found}


def test_a_user_that_nobody_knows_has_an_empty_list(shelf):
    assert shelf.backend.conversations(user_id=unique("nobody"))["data"] == []


@pytest.mark.parametrize("query", [
    {"status": "opened"}, {"status": ""}, {"status": "OPEN"}, {"channel": "telegraph"}, {"channel": ""},
    {"order": "newest"}, {"limit": "201"}, {"limit": "0"},
], ids=str)
def test_a_filter_that_makes_no_sense_is_refused(shelf, query):
    check_problem(shelf.backend.get("/api/v2/chat/conversations", query=query), 422, "validation_failed")


def test_a_cursor_of_the_list_is_none_of_a_conversation(shelf, archive):
    cursor = shelf.backend.conversations(limit=1)["page"]["next_cursor"]
    response = archive.client.get(f"/api/v2/chat/conversations/{archive.id}", query={"cursor": cursor})
    if response.status == 200:
        assert all(entry["conversation_id"] == archive.id for entry in response.json["data"])
    else:
        check_problem(response, (400, 422))


def test_a_cursor_of_another_tenant_shows_nothing_of_it(service, shelf):
    cursor = shelf.backend.conversations(limit=1)["page"]["next_cursor"]
    outsider = service.client("backend", tenant="acme", role="service")
    response = outsider.get("/api/v2/chat/conversations", query={"cursor": cursor, "limit": 200})
    if response.status == 200:
        assert not {item["id"] for item in response.json["data"]} & shelf.own
    else:
        check_problem(response, (400, 422))


def test_everything_is_there_after_a_restart(launch):
    service = launch()
    client = service.client()
    conversation_id = client.say("Hello")["conversation_id"]
    client.say("order status")
    before, listed = client.log(conversation_id), client.conversations()["data"]
    client.close()
    assert service.stop() == 0
    service.start()
    assert client.log(conversation_id) == before
    assert client.conversations()["data"] == listed
    assert texts(before, "inbound") == ["Hello", "order status"]
