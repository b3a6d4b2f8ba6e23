"""Long polling on the history route (RFC 7240 `wait`): at once when there is something, else the first entry or the end of the
time, and nothing different for those who do not ask for it."""

import socket
import threading
import time

import pytest

from conftest import check_problem, eventually, request_bytes


def path_of(conversation):
    return f"/api/v2/chat/conversations/{conversation}"


def poll(client, conversation, after, wait=10, **query):
    began = time.monotonic()
    response = client.get(path_of(conversation), query={"after_seq": after, **query}, headers={"Prefer": f"wait={wait}"})
    return response, time.monotonic() - began


def later(action, seconds=0.4):
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def gauge(service, name):
    return int(next(line for line in service.metrics().splitlines() if line.startswith(name + " ")).split()[1])


def test_what_is_there_is_answered_at_once(service, alice):
    conversation = alice.say()["conversation_id"]
    response, seconds = poll(alice, conversation, 0)
    assert response.status == 200 and seconds < 2
    assert [entry["seq"] for entry in response.json["data"]] == [1, 2]
    assert response.header("Preference-Applied") == "wait=10"


@pytest.mark.parametrize("round", range(4))
def test_the_first_new_entry_ends_the_waiting(service, alice, round):
    conversation = alice.say()["conversation_id"]
    later(lambda: alice.twin().say("news"))
    response, seconds = poll(alice, conversation, 2)
    assert response.status == 200 and 0.2 < seconds < 5
    assert response.json["data"][0]["seq"] == 3 and response.json["data"][0]["content"]["text"] == "news"
    assert response.json["conversation"]["last_seq"] >= 3


def test_when_the_time_has_passed_the_page_is_empty_and_the_connection_goes_on(service, alice):
    conversation = alice.say()["conversation_id"]
    response, seconds = poll(alice, conversation, 2, wait=1)
    assert response.status == 200 and response.json["data"] == [] and 0.9 < seconds < 5
    assert response.header("Preference-Applied") == "wait=1"
    connection = alice.connection
    assert alice.say()["message"]["seq"] == 3 and alice.connection is connection


def test_typing_and_runs_do_not_end_the_waiting(service, alice):
    conversation = alice.say()["conversation_id"]
    with service.chat(alice, by_header=True) as chat:
        later(lambda: chat.send(type="typing", conversation_id=conversation, state="start"), 0.2)
        response, seconds = poll(alice, conversation, 2, wait=1)
    assert response.json["data"] == [] and seconds > 0.9


@pytest.mark.parametrize("prefer", [None, "wait=0", "wait=x", "respond-async", "wait"])
def test_without_a_time_nobody_waits(service, alice, prefer):
    conversation = alice.say()["conversation_id"]
    response = alice.get(path_of(conversation), query={"after_seq": 2}, headers={"Prefer": prefer})
    assert response.status == 200 and response.json["data"] == []
    assert response.header("Preference-Applied") is None


@pytest.mark.parametrize("query", [{}, {"before_seq": 9, "after_seq": 2}])
def test_without_a_place_to_wait_for_nobody_waits(service, alice, query):
    conversation = alice.say()["conversation_id"]
    response = alice.get(path_of(conversation), query=query, headers={"Prefer": "wait=10"})
    assert response.status == 200 and response.header("Preference-Applied") is None


def test_more_than_the_bound_is_the_bound(service, alice):
    conversation = alice.say()["conversation_id"]
    later(lambda: alice.twin().say("news"), 0.2)
    response, _ = poll(alice, conversation, 2, wait=3600)
    assert response.header("Preference-Applied") == "wait=30"


def test_a_stranger_is_not_let_wait(service, alice, bob, agent):
    conversation = alice.say()["conversation_id"]
    response, seconds = poll(bob, conversation, 2)
    check_problem(response, 404, "not_found")
    assert seconds < 2
    later(lambda: alice.say("news"))
    response, _ = poll(agent, conversation, 2)
    assert response.json["data"][0]["seq"] == 3
    check_problem(poll(alice, "conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", 0)[0], 404, "not_found")


def test_answers_keep_their_order_around_one_that_waits(service, alice, raw):
    conversation = alice.say()["conversation_id"]
    connection = raw()
    plain = request_bytes("GET", path_of(conversation), alice.authorization(), host=service.authority)
    waiting = request_bytes("GET", path_of(conversation) + "?after_seq=2", {**alice.authorization(), "Prefer": "wait=10"},
                            host=service.authority)
    health = request_bytes("GET", "/health", host=service.authority)
    connection.send(plain * 3 + waiting + health + waiting + health)
    for _ in range(3):
        assert len(connection.response().json["data"]) == 2
    later(lambda: alice.say("news"), 0.3)
    assert connection.response().json["data"][0]["seq"] == 3
    assert connection.response().json["status"] == "pass"
    assert connection.response().json["data"][0]["seq"] == 3
    assert connection.response().json["status"] == "pass"


def test_who_goes_is_forgotten_and_who_half_closes_is_answered(launch):
    service = launch()
    client = service.client()
    conversation = client.say()["conversation_id"]
    waiting = request_bytes("GET", path_of(conversation) + "?after_seq=2", {**client.authorization(), "Prefer": "wait=30"},
                            host=service.authority)
    connections = [service.raw() for _ in range(6)]
    for connection in connections:
        connection.send(waiting)
    eventually(lambda: gauge(service, "chat_long_polls") == 6)
    for connection in connections[:3]:
        connection.reset()
    for connection in connections[3:]:
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.response().json["data"] == []
        connection.close()
    eventually(lambda: gauge(service, "chat_long_polls") == 0)
    client.say("nobody waits")


def test_a_conversation_has_a_bounded_number_of_those_who_wait(launch):
    service = launch(REACTOR_THREADS=1)
    client = service.client()
    conversation = client.say()["conversation_id"]
    waiting = request_bytes("GET", path_of(conversation) + "?after_seq=2", {**client.authorization(), "Prefer": "wait=30"},
                            host=service.authority)
    connections = [service.raw() for _ in range(64)]
    for connection in connections:
        connection.send(waiting)
    eventually(lambda: gauge(service, "chat_long_polls") == 64)
    response, seconds = poll(client, conversation, 2)
    assert response.status == 200 and response.header("Preference-Applied") is None and seconds < 2
    assert gauge(service, "chat_long_polls_refused_total") == 1
    client.say("news")
    for connection in connections:
        assert connection.response().json["data"][0]["seq"] == 3
        connection.close()
    eventually(lambda: gauge(service, "chat_long_polls") == 0)


def test_at_the_end_of_the_service_who_waits_is_answered(launch):
    service = launch()
    client = service.client()
    conversation = client.say()["conversation_id"]
    connections = [service.raw() for _ in range(4)]
    for connection in connections:
        connection.send(request_bytes("GET", path_of(conversation) + "?after_seq=2",
                                      {**client.authorization(), "Prefer": "wait=30"}, host=service.authority))
    eventually(lambda: gauge(service, "chat_long_polls") == 4)
    client.close()
    began = time.monotonic()
    stopper = threading.Thread(target=service.stop)
    stopper.start()
    for connection in connections:
        response = connection.response()
        assert response.status == 200 and response.json["data"] == [] and response.header("Connection") == "close"
    stopper.join()
    assert service.process.returncode == 0 and time.monotonic() - began < 10
