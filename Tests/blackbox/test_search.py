"""Finding conversations: filters of the list."""

import itertools

import pytest

from conftest import check_problem, unique

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
