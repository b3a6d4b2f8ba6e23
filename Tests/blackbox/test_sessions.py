"""Sessions: what is told of them, who may see and end them, and what their end does."""

import pytest

from conftest import TIME_PATTERN, check_problem, eventually


def path_of(session_id):
    return f"/api/v2/chat/sessions/{session_id}"


def test_a_message_makes_a_session_that_can_be_read(alice):
    answer = alice.say()
    response = alice.get(path_of(answer["session_id"]))
    assert response.status == 200
    session = response.json
    assert session["id"] == answer["session_id"] and session["user_id"] == alice.user
    assert session["devices"] == []
    assert session["context"] == {"conversations": {"web": answer["conversation_id"]}}
    times = [session[name] for name in ("created_at", "last_activity_at", "expires_at")]
    assert all(TIME_PATTERN.match(text) for text in times) and times == sorted(times) and times[1] < times[2]
    listed = alice.get("/api/v2/chat/sessions").json["data"]
    assert [item["id"] for item in listed] == [session["id"]]
    alice.say("again")
    assert alice.get(path_of(session["id"])).json["last_activity_at"] >= session["last_activity_at"]
    assert alice.request("HEAD", path_of(session["id"])).status == 200


def test_devices_come_and_go(service, alice):
    with service.chat(alice, device_id="phone") as phone, service.chat(alice, device_id="desk"):
        session_id = phone.connected["session_id"]
        devices = {item["id"]: item for item in alice.get(path_of(session_id)).json["devices"]}
        assert set(devices) == {"phone", "desk"}
        assert all(item["connected"] and TIME_PATTERN.match(item["last_seen_at"]) for item in devices.values())
        phone.close()
        eventually(lambda: [item["connected"] for item in alice.get(path_of(session_id)).json["devices"]
                            if item["id"] == "phone"] == [False])
    eventually(lambda: not any(item["connected"] for item in alice.get(path_of(session_id)).json["devices"]))


def test_an_agent_sees_and_a_stranger_does_not(service, alice, bob, agent):
    session_id = alice.say()["session_id"]
    assert agent.get(path_of(session_id)).json["user_id"] == alice.user
    assert agent.get("/api/v2/chat/sessions", query={"user_id": alice.user}).json["data"][0]["id"] == session_id
    outsider = service.client("backend", tenant="acme", role="service")
    for stranger in (bob, outsider):
        check_problem(stranger.get(path_of(session_id)), 404, "not_found")
        check_problem(stranger.request("DELETE", path_of(session_id)), 404, "not_found")
    check_problem(bob.get("/api/v2/chat/sessions", query={"user_id": alice.user}), 403, "forbidden")
    assert outsider.get("/api/v2/chat/sessions", query={"user_id": alice.user}).json == {"data": []}
    check_problem(service.client(role="ops").get(path_of(session_id)), 403, "forbidden")
    check_problem(service.anonymous().get(path_of(session_id)), 401, "unauthenticated")
    assert bob.get("/api/v2/chat/sessions").json == {"data": []}


@pytest.mark.parametrize("who", ["own", "agent"])
def test_the_end_of_a_session_closes_its_sockets(service, alice, agent, who):
    sockets = [service.chat(alice.twin(), device_id=f"d{number}") for number in range(6)]
    session_id = sockets[0].connected["session_id"]
    assert {chat.connected["session_id"] for chat in sockets} == {session_id}
    response = (alice if who == "own" else agent).request("DELETE", path_of(session_id))
    assert response.status == 204 and response.body == b""
    for chat in sockets:
        chat.expect_close(4401)
    check_problem(alice.get(path_of(session_id)), 404, "not_found")
    check_problem(alice.request("DELETE", path_of(session_id)), 404, "not_found")
    again = alice.say()
    assert again["session_id"] != session_id
    assert alice.get(path_of(again["session_id"])).json["devices"] == []
    with service.chat(alice) as chat:
        assert chat.connected["session_id"] == again["session_id"]


@pytest.mark.parametrize("id", ["sess_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", "x", "conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab"])
def test_what_is_no_session_is_404(alice, id):
    check_problem(alice.get(path_of(id)), 404, "not_found")
    check_problem(alice.request("DELETE", path_of(id)), 404, "not_found")


def test_only_some_methods_are_taken(alice):
    check_problem(alice.post(path_of("sess_0190b1d2-7c3e-7a4b-8c5d-0123456789ab")), 405, "method_not_allowed")
    check_problem(alice.request("DELETE", "/api/v2/chat/sessions"), 405, "method_not_allowed")
    check_problem(alice.get("/api/v2/chat/sessions", query={"user_id": ""}), 422, "validation_failed")


def test_a_session_ends_by_itself(launch):
    service = launch(SESSION_TTL=1)
    client = service.client()
    session_id = client.say()["session_id"]
    assert client.get(path_of(session_id)).status == 200
    eventually(lambda: client.get(path_of(session_id)).status == 404)
    assert client.say()["session_id"] != session_id
