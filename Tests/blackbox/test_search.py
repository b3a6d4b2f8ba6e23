"""Finding conversations: filters of the list, and the search for words."""

import itertools
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import check_conversation, check_page, check_problem, eventually, unique

LIST = "/api/v2/chat/conversations"


def patched(agent, conversation_id, body):
    response = agent.request("PATCH", f"{LIST}/{conversation_id}", body)
    assert response.status == 200, repr(response)


def pages(client, **query):
    """The ids of all pages, in order; follows `next_cursor` to its end."""
    found, cursor = [], None
    for _ in range(200):
        page = client.conversations(**query, **({"cursor": cursor} if cursor else {}))
        found += [row["id"] for row in page["data"]]
        cursor = page["page"]["next_cursor"]
        assert page["page"]["has_more"] == (cursor is not None)
        if cursor is None:
            assert len(set(found)) == len(found), "a conversation is listed once"
            return found
    raise AssertionError("the list has no end")


# --- filters ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def queue(service, agent):
    """Eight conversations of as many users, all combinations of three things; and their names."""
    tag = unique()
    made = {}
    for assigned, labelled, human in itertools.product([False, True], repeat=3):
        conversation = service.client().say("Hello")["conversation_id"]
        change = {"labels": [f"all-{tag}"] + ([f"some-{tag}"] if labelled else [])}
        if assigned:
            change["assignee"] = f"kim-{tag}"
        if human:
            change["handler"] = "human"
        patched(agent, conversation, change)
        made[conversation] = (assigned, labelled, human)
    return tag, made


def test_filters_find_what_fits_all_of_them(agent, queue):
    tag, made = queue
    for assigned, labelled, human in itertools.product([None, False, True], repeat=3):
        query = {"label": f"some-{tag}" if labelled else f"all-{tag}"}
        if assigned is not None:
            query["assignee"] = f"kim-{tag}" if assigned else ""
        if human is not None:
            query["handler"] = "human" if human else "bot"
        wanted = [name for name, (has, tagged, by_human) in made.items()
                  if (assigned is None or has == assigned) and (not labelled or tagged)
                  and (human is None or by_human == human)]
        assert pages(agent, **query, order="asc", limit=1) == wanted, query
        assert pages(agent, **query, limit=3) == wanted[::-1], query


def test_an_assignee_alone_and_what_nobody_has(agent, queue):
    tag, made = queue
    assert pages(agent, assignee=f"kim-{tag}", order="asc") == [name for name, has in made.items() if has[0]]
    nobodys = set(pages(agent, assignee=""))
    assert {name for name in made if name in nobodys} == {name for name, has in made.items() if not has[0]}


def test_what_changes_leaves_the_list(agent, queue):
    tag, made = queue
    first = next(name for name, has in made.items() if has == (True, True, True))
    patched(agent, first, {"assignee": None, "labels": ["other-" + tag], "status": "closed"})
    assert first not in pages(agent, assignee=f"kim-{tag}") and first not in pages(agent, label=f"some-{tag}")
    assert pages(agent, label=f"other-{tag}") == [first]
    assert pages(agent, label=f"other-{tag}", status="open") == []
    assert pages(agent, label=f"other-{tag}", status="closed", channel="web") == [first]
    assert pages(agent, label=f"other-{tag}", status="closed", channel="sms") == []


def test_a_filter_shows_nothing_of_another_tenant_or_user(service, queue):
    tag, made = queue
    other = service.client(user="zoe", tenant="acme", role="agent")
    assert pages(other, label=f"all-{tag}") == [] and pages(other, assignee=f"kim-{tag}") == []
    assert pages(service.client(), label=f"all-{tag}") == []


@pytest.mark.parametrize("query,pointer", [
    ({"label": ""}, "/label"), ({"label": "x" * 65}, "/label"), ({"assignee": "x" * 129}, "/assignee"),
    ({"assignee": "a\x00b"}, "/assignee"), ({"handler": ""}, "/handler"), ({"handler": "robot"}, "/handler"),
])
def test_a_filter_that_cannot_be_is_refused(agent, query, pointer):
    check_problem(agent.get(LIST, query=query), 422, "validation_failed", pointer=pointer)


# --- search ----------------------------------------------------------------------------------------------------------


def search(client, q, **query):
    page = client.conversations(q=q, **query)
    check_page(page["page"])
    for row in page["data"]:
        check_conversation(row)
        assert set(row["match"]) == {"seq", "message_id", "snippet"}, row
        assert row["match"]["message_id"].startswith("msg_") and 1 <= row["match"]["seq"] <= row["last_seq"]
    return page


def found(client, q, **query):
    return [row["id"] for row in search(client, q, **query)["data"]]


def indexed(service):
    """Waits until the index knows all that was committed."""
    def is_level():
        lag = re.search(r"^chat_search_lag_rows (\d+)$", service.metrics(), re.M)
        return lag and lag[1] == "0"
    eventually(is_level, what="the search to follow the log")


@pytest.fixture
def word():
    """A word that no other test says."""
    return unique("w").replace("-", "").replace("_", "")


def test_a_message_is_found_by_its_words(service, alice, agent, word):
    conversation = alice.say(f"Where is my {word}, please? Gr\u00fc\u00dfe")["conversation_id"]
    indexed(service)
    page = search(alice, f"{word.upper()} where")
    assert [row["id"] for row in page["data"]] == [conversation]
    match = page["data"][0]["match"]
    assert word in match["snippet"]
    for q in (word, f'"my {word}"', f"{word[:6]}*", f"gru\u00dfe {word}", f"{word}!", f"({word})", f"please {word}"):
        assert found(alice, q) == [conversation], q
        assert found(agent, q) == [conversation], q
    for q in (word[:6], f'"{word} my"', f"{word} absent{word}", word + "x"):
        assert found(alice, q) == [], q


def test_the_match_is_the_newest_message_that_has_the_words(service, alice, word):
    conversation = alice.handed_to_human()
    for text in (f"{word} one", f"{word} two", "neither"):
        alice.say(text, conversation_id=conversation)
    indexed(service)
    row = search(alice, word)["data"][0]
    message = next(entry for entry in alice.log(conversation) if entry["id"] == row["match"]["message_id"])
    assert message["seq"] == row["match"]["seq"] and message["content"]["text"] == f"{word} two"
    assert search(alice, f"{word} one")["data"][0]["match"]["seq"] == message["seq"] - 1
    shown = alice.conversation(conversation)["conversation"]
    assert {name: value for name, value in row.items() if name != "match"} == shown


def test_everybody_finds_only_what_is_theirs(service, alice, bob, agent, word):
    mine, theirs = (client.say(f"about {word}")["conversation_id"] for client in (alice, bob))
    stranger = service.client(user=alice.user, tenant="acme", role="service")
    foreign = stranger.say(f"about {word}")["conversation_id"]
    indexed(service)
    assert found(alice, word) == [mine] and found(bob, word) == [theirs]
    assert found(agent, word) == [theirs, mine]
    assert found(agent, word, user_id=alice.user) == [mine]
    assert found(stranger, word) == [foreign]
    assert found(service.client(tenant="acme", user=bob.user), word) == []
    check_problem(alice.get(LIST, query={"q": word, "user_id": bob.user}), 403, "forbidden")


def test_internal_notes_are_found_by_agents_alone(service, alice, agent, word):
    conversation = alice.handed_to_human()
    response = agent.post(f"{LIST}/{conversation}/messages",
                          {"content": {"type": "text", "text": f"note {word}"}, "visibility": "internal"})
    assert response.status == 201, response
    indexed(service)
    assert found(agent, word) == [conversation] and found(agent, word, user_id=alice.user) == [conversation]
    assert found(alice, word) == []


def test_pages_show_each_conversation_once_newest_match_first_and_back(service, agent, word):
    users = [service.client() for _ in range(7)]
    made = [user.say(f"{word} hello")["conversation_id"] for user in users]
    for index in (1, 4, 1):
        users[index].say(f"again {word}", conversation_id=made[index])
    indexed(service)
    wanted = [made[index] for index in (1, 4, 6, 5, 3, 2, 0)]
    assert found(agent, word) == wanted
    for limit in (1, 2, 3, 7):
        assert pages(agent, q=word, limit=limit) == wanted, limit
    first = search(agent, word, limit=3)
    users[0].say(f"{word} comes later", conversation_id=made[0])
    indexed(service)
    second = search(agent, word, limit=3, cursor=first["page"]["next_cursor"])
    assert [row["id"] for row in second["data"]] == wanted[3:6], "what is new moves no page"
    back = search(agent, word, limit=3, cursor=second["page"]["prev_cursor"])
    assert [row["id"] for row in back["data"]] == wanted[:3] and back["page"]["prev_cursor"] is None
    assert found(agent, word)[0] == made[0]


def test_a_search_is_filtered_as_a_list_is(service, agent, word):
    users = [service.client() for _ in range(4)]
    made = [user.say(f"{word} hello")["conversation_id"] for user in users]
    patched(agent, made[1], {"status": "closed", "assignee": "kim", "labels": ["vip", 'a"b']})
    patched(agent, made[2], {"handler": "human", "labels": ["vi"]})
    indexed(service)
    assert found(agent, word, status="closed") == [made[1]] and found(agent, word, assignee="kim") == [made[1]]
    assert found(agent, word, label="vip") == [made[1]] and found(agent, word, label='a"b') == [made[1]]
    assert found(agent, word, handler="human") == [made[2]] and found(agent, word, label="vi") == [made[2]]
    assert found(agent, word, assignee="", handler="bot") == [made[3], made[0]]
    assert found(agent, word, channel="sms") == []


def test_what_is_shown_of_other_content_is_found(service, alice, word):
    content = {"type": "image", "url": f"https://example.org/{word}url.png", "mime_type": "image/png",
               "caption": f"{word}caption", "filename": f"{word}name.png"}
    conversation = alice.say(content=content)["conversation_id"]
    indexed(service)
    assert found(alice, f"{word}caption") == [conversation] and found(alice, f"{word}name") == [conversation]
    assert found(alice, f"{word}url") == []


@pytest.mark.parametrize("q", [
    '"', '""', "***", "AND", "a AND", "NOT a", "NEAR(", "NEAR(a b, 3)", "text:a", "owner:a", "(", ")", "{x}:a", "^a", "-a",
    "a^2", "a*b*", "'; DROP TABLE found; --", "\x00", "a\x00b", "\x01\x1f", "\u00a0", "\U0001f600", "%", "\\", "a:b:c*",
    "\u0e01\u0e02", "x" * 256, " ".join("ab" for _ in range(16)), '"' * 256, "*" * 256, "\ufeff", "e\u0301" * 80,
])
def test_any_text_may_be_searched_for(alice, q):
    assert search(alice, q)["data"] == []


@pytest.mark.parametrize("query,pointer", [
    ({"q": ""}, "/q"), ({"q": "x" * 257}, "/q"), ({"q": "\u00fc" * 129}, "/q"), ({"q": "a " * 17}, "/q"),
    ({"q": "a-" * 17}, "/q"), ({"q": "a", "order": "asc"}, "/order"), ({"q": "a", "limit": "201"}, "/limit"),
    ({"q": "a", "cursor": "x"}, "/cursor"), ({"q": "a", "cursor": "l1" + "0" * 32}, "/cursor"),
    ({"q": "a", "cursor": "s0" + "0" * 32}, "/cursor"), ({"q": "a", "cursor": "s1" + "f" * 32}, "/cursor"),
    ({"cursor": "s1" + "0" * 32}, "/cursor"),
])
def test_a_search_that_cannot_be_is_refused(alice, query, pointer):
    check_problem(alice.get(LIST, query=query), 422, "validation_failed", pointer=pointer)


def test_a_cursor_that_was_made_up_harms_nothing(service, alice, word):
    conversation = alice.say(word)["conversation_id"]
    indexed(service)
    for newest, place, digit in itertools.product([0, 1, 2**40, 2**63 - 2], [0, 1, 2**40, 2**63 - 2], "13"):
        page = search(alice, word, cursor=f"s{digit}{newest:016x}{place:016x}")
        assert [row["id"] for row in page["data"]] in ([], [conversation])


def test_the_search_outlives_restarts_and_the_loss_of_its_file(launch, word):
    service = launch()
    alice = service.client(user="ann")
    conversation = alice.say(f"before {word}")["conversation_id"]
    indexed(service)
    assert found(alice, word) == [conversation]

    def again():
        client = service.client(user="ann")
        eventually(lambda: found(client, f"before {word}") == [conversation], what="the old message to be found")
        number = unique("n").replace("-", "").replace("_", "")
        client.say(f"{word} {number}", conversation_id=conversation)
        eventually(lambda: found(client, number) == [conversation], what="the new message to be found")
        client.close()

    service.restart()
    again()
    assert "chat_search_rebuilds_total 0" in service.metrics()
    data = service.data_directory
    for damage in ("remove", "garbage", "half"):
        assert service.stop() == 0
        file = data / "search.db"
        content = file.read_bytes()
        for suffix in ("-wal", "-shm"):
            (data / f"search.db{suffix}").unlink(missing_ok=True)
        if damage == "remove":
            file.unlink()
        else:
            file.write_bytes(b"no database " * 9999 if damage == "garbage" else content[:8192] + b"x" * len(content[8192:]))
        service.start()
        again()


def test_nothing_that_was_committed_is_lost_for_the_search_by_kill(launch, word):
    service = launch()
    alice = service.client(user="ann")
    conversation = alice.say(word)["conversation_id"]
    for number in range(60):
        alice.say(f"{word}n{number}", conversation_id=conversation)
        if number % 20 == 19:
            service.kill()
            service.start()
            alice = service.client(user="ann")
    indexed(service)
    for number in range(60):
        assert found(alice, f"{word}n{number}") == [conversation], number
    # A message and its echo each.
    assert len(search(alice, f"{word}n7")["data"]) == 1


def test_at_rest_the_search_does_not_wake(launch):
    service = launch()
    service.client(user="ann").say("hello")
    indexed(service)
    eventually(lambda: _switches(service) == _later(lambda: _switches(service)), what="threads of the search to sleep")


def _later(probe):
    time.sleep(0.6)
    return probe()


def _switches(service):
    """Voluntary context switches of the threads of the search."""
    total = {}
    for task in Path(f"/proc/{service.process.pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if "search" in name:
            total[name] = re.search(r"voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text())[1]
    assert set(total) == {"search-index", "store-search"}, total
    return total


def test_searches_and_messages_at_once_leave_each_other_alone(launch, word):
    service = launch()

    def talk(number):
        client = service.client(user=f"user{number}")
        for turn in range(30):
            client.say(f"{word} turn{turn}")
            page = search(client, word)
            assert len(page["data"]) <= 1
        client.close()
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(talk, range(6)))
    indexed(service)
    agent = service.client(user="kim", role="agent")
    assert len(found(agent, f"{word} turn29")) == 6
