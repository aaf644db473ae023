"""Requests that are refused, one a line: the store must be what it was before."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import hypothesis
import pytest
from serving import TOKEN, Served, fingerprint

ABSENT = "018f0000-0000-7000-8000-000000000000"
RUN, KEY = "{run}", "{key}"
DECIDE = f"runs/{RUN}/decisions"
SAID = {"key": KEY, "action": "approve"}

#        what                        status  verb   path               how
TABLE: list[tuple[str, int, str, str, dict[str, Any]]] = [
    ("no token",                       403, "POST", DECIDE, {"body": SAID, "token": None}),
    ("a wrong token",                  403, "POST", DECIDE, {"body": SAID, "token": "guessed"}),
    ("no token, reading",              403, "GET", "runs", {"token": None}),
    ("no token, the document",         403, "GET", "openapi.json", {"token": None}),
    ("another user, reading",          403, "GET", "runs", {"token": "mallory-token"}),
    ("another user, deciding",         403, "POST", DECIDE, {"body": SAID, "token": "mallory-token"}),
    ("another user, cancelling",       403, "POST", f"runs/{RUN}/cancel", {"body": {}, "token": "mallory-token"}),
    ("one who may only read",          403, "POST", DECIDE, {"body": SAID, "token": "reader-token"}),
    ("a cookie, no XSRF token",        403, "POST", DECIDE, {"body": SAID, "cookie": True}),
    ("a cookie, a wrong XSRF token",   403, "POST", DECIDE, {"body": SAID, "cookie": True, "xsrf": "wrong"}),
    ("a cookie, another origin",       404, "POST", DECIDE,
     {"body": SAID, "cookie": True, "xsrf": True, "headers": {"Origin": "https://evil.example"}}),
    ("a form of another site",         403, "POST", DECIDE,
     {"raw": b"key=a&action=approve", "cookie": True, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}),
    ("a form, with a token",           400, "POST", DECIDE,
     {"raw": b"key=a&action=approve", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}),
    ("an oversized body",              413, "POST", DECIDE, {"raw": b'"' + b"x" * 1_000_001 + b'"'}),
    ("an oversized message",           400, "POST", DECIDE, {"body": {**SAID, "message": "x" * 10_001}}),
    ("no JSON",                        400, "POST", DECIDE, {"raw": b"{"}),
    ("no UTF-8",                       400, "POST", DECIDE, {"raw": b'{"key": "\xff", "action": "approve"}'}),
    ("half a surrogate",               400, "POST", DECIDE, {"raw": b'{"key": "\\ud800", "action": "approve"}'}),
    ("no number",                      400, "POST", DECIDE, {"raw": b'{"key": "k", "action": "answer", "value": NaN}'}),
    ("deeper than anybody writes",     400, "POST", DECIDE,
     {"raw": b'{"key": "k", "action": "answer", "value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"}),
    ("a list",                         400, "POST", DECIDE, {"body": [SAID]}),
    ("nothing",                        400, "POST", DECIDE, {"raw": b""}),
    ("an unknown field",               400, "POST", DECIDE, {"body": {**SAID, "by": "somebody else"}}),
    ("a wrong type",                   400, "POST", DECIDE, {"body": {**SAID, "key": 7}}),
    ("an unknown action",              400, "POST", DECIDE, {"body": {**SAID, "action": "delete"}}),
    ("an action that does not fit",    422, "POST", DECIDE, {"body": {**SAID, "action": "answer", "value": 1}}),
    ("arguments that do not fit",      422, "POST", DECIDE, {"body": {**SAID, "action": "edit", "value": {"to": 7}}}),
    ("a wait that is not there",       422, "POST", DECIDE, {"body": {**SAID, "key": "approval:9.9"}}),
    ("a run that is not there",        404, "POST", f"runs/{ABSENT}/decisions", {"body": SAID}),
    ("the beginning of an id",         404, "POST", "runs/018f/decisions", {"body": SAID}),
    ("a name for an id",               404, "POST", "runs/held/decisions", {"body": SAID}),
    ("SQL for an id",                  404, "GET", "runs/%27%20OR%201=1", {}),
    ("a path for an id",               404, "GET", "runs/..%2f..%2fetc%2fpasswd", {}),
    ("a zero byte",                    404, "GET", "runs/%00", {}),
    ("a step that is not there",       404, "POST", f"runs/{RUN}/steps/99.99/retry", {"body": {}}),
    ("a step that is not in doubt",    422, "POST", f"runs/{RUN}/steps/{{step}}/retry", {"body": {}}),
    ("an offset that is none",         400, "GET", f"runs/{RUN}/steps/{{step}}/values/result?offset=-1", {}),
    ("an unknown parameter",           400, "GET", "runs?where=1", {}),
    ("a parameter twice",              400, "GET", "runs?limit=1&limit=2", {}),
    ("a limit without end",            400, "GET", "runs?limit=100000", {}),
    ("another verb",                   405, "PUT", f"runs/{RUN}", {"body": {}}),
    ("another verb, ours",             405, "POST", "runs", {"body": {}}),
    ("delete what is live",            409, "DELETE", f"runs/{RUN}", {}),
    ("delete without a token",         403, "DELETE", f"runs/{RUN}", {"token": None}),
    ("delete as a reader",             403, "DELETE", f"runs/{RUN}", {"token": "reader-token"}),
    ("delete without XSRF",            403, "DELETE", f"runs/{RUN}", {"cookie": True}),
    ("fork what is live",              422, "POST", f"runs/{RUN}/fork", {"body": {"at": "1.0"}}),
    ("fork as a reader",               403, "POST", f"runs/{RUN}/fork", {"body": {"at": "1.0"}, "token": "reader-token"}),
    ("fork at no step",                400, "POST", f"runs/{RUN}/fork", {"body": {"at": "../1"}}),
    ("export as what is not there",    400, "GET", f"runs/{RUN}/export?format=pytest", {}),
    ("export of another user",         403, "GET", f"runs/{RUN}/export", {"token": "mallory-token"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def held(served: Served) -> Iterator[dict[str, str]]:
    """A run that waits for an approval, and stays as it is."""
    with served.waiting("held", "with durable.run('held', park_after=3600):\n    fetch(1); mail('nobody')"):
        run = served.run("held")
        wait = run["waits"][0]
        yield {RUN: run["id"], KEY: wait["key"], "{step}": wait["step"]}


@pytest.fixture(scope="module")
def cookies(served: Served) -> dict[str, str]:
    """What a browser has of somebody who is logged in."""
    found: dict[str, str] = {}
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    for path in (
        "/login",
        f"/api/status?token={TOKEN}",
    ):  # the form sets the XSRF cookie, the token that of the login
        connection.request("GET", path, headers={"Cookie": "; ".join(f"{k}={v}" for k, v in found.items())})
        got = connection.getresponse()
        got.read()
        for value in got.msg.get_all("Set-Cookie") or []:
            for name, morsel in SimpleCookie(value).items():
                found.setdefault(name, morsel.value)
    connection.close()
    assert "_xsrf" in found
    return found


def fill(value: Any, held: dict[str, str]) -> Any:
    """`{run}` and so on, replaced wherever they are."""
    if isinstance(value, str):
        for mark, real in held.items():
            value = value.replace(mark, real)
        return value
    if isinstance(value, dict):
        return {key: fill(item, held) for key, item in value.items()}
    return [fill(item, held) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("what", "status", "verb", "path", "how"), TABLE, ids=[line[0] for line in TABLE])
def test_refused(
    served: Served,
    held: dict[str, str],
    cookies: dict[str, str],
    what: str,
    status: int,
    verb: str,
    path: str,
    how: dict[str, Any],
) -> None:
    """With that status, a reason, and nothing written."""
    given = fill(how, held)
    headers = dict(given.get("headers", {}))
    token: str | None = given.get("token", TOKEN)
    if given.get("cookie"):
        token = None
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if given.get("xsrf") is True:
            headers["X-XSRFToken"] = cookies["_xsrf"]
        elif given.get("xsrf"):
            headers["X-XSRFToken"] = given["xsrf"]
    with served.store() as store:
        before = fingerprint(store)
        answer = served.ask(
            verb, fill(path, held), given.get("body"), token=token, raw=given.get("raw"), headers=headers
        )
        assert answer.status == status, answer
        if isinstance(answer.data, dict):
            assert answer.data["message"]
        assert fingerprint(store) == before
    assert "mail nobody" not in served.effects()


def test_a_browser_that_is_logged_in_may(
    served: Served, held: dict[str, str], cookies: dict[str, str]
) -> None:
    """The table's cookie is a good one: with its XSRF token, from our own origin, it is let through."""
    headers = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "X-XSRFToken": cookies["_xsrf"],
        "Origin": f"http://127.0.0.1:{served.port}",
    }
    answer = served.ask("POST", f"runs/{held[RUN]}/signals", {"name": "hello"}, token=None, headers=headers)
    assert (answer.status, answer.data["by"]) == (200, "ada (Jupyter)")


def test_a_body_without_an_announced_length_is_limited_too(served: Served, held: dict[str, str]) -> None:
    """Chunked: dropped as it comes, refused when it ends."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as raw:
        raw.sendall(
            f"POST /jupyter-durable/runs/{held[RUN]}/decisions HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
            f"Authorization: token {TOKEN}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(20):
            raw.sendall(piece)
        raw.sendall(b"0\r\n\r\n")
        assert b" 413 " in raw.recv(200)


SOCKETS: list[tuple[str, dict[str, Any]]] = [
    ("no token", {"token": None}),
    ("a wrong token", {"token": "guessed"}),
    ("another user", {"token": "mallory-token"}),
    ("a cookie, another origin", {"cookie": True, "origin": "https://evil.example"}),
]


@pytest.mark.parametrize(("what", "how"), SOCKETS, ids=[line[0] for line in SOCKETS])
def test_sockets_refused(served: Served, cookies: dict[str, str], what: str, how: dict[str, Any]) -> None:
    """Before anything is sent."""
    from websockets.exceptions import InvalidStatus

    headers: dict[str, str] = {}
    if how.get("cookie"):
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    more = {"origin": how["origin"]} if "origin" in how else {}
    token = None if how.get("cookie") else how.get("token", TOKEN)
    with pytest.raises(InvalidStatus) as caught:
        served.socket(token=token, headers=headers, **more)
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", '{"type": "follow"}', '{"type": "follow", "run": "../x"}', '{"type": "cancel"}', "x" * 5000, b"\0\1"],
    ids=["empty", "broken", "a list", "no run", "a path", "an unknown type", "large", "binary"],
)  # fmt: skip
def test_messages_refused(served: Served, message: Any) -> None:
    """The connection is closed, and the others are not."""
    from websockets.exceptions import ConnectionClosed

    with served.socket() as other, served.socket() as one:
        other.recv(30)
        one.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                one.recv(30)
        other.ping().wait(30)


def test_no_route_without_a_token(served: Served) -> None:
    """Every path and verb of the document."""
    document = served.ask("GET", "openapi.json").data
    tried = 0
    for path, verbs in document["paths"].items():
        real = path.replace("{run}", ABSENT).replace("{step}", "1.0").replace("{what}", "result")
        for verb in verbs:
            answer = served.ask(verb.upper(), real.removeprefix("/jupyter-durable/"), {}, token=None)
            assert answer.status == 403, (verb, path, answer)
            tried += 1
    assert tried >= 12


def test_schemathesis(served: Served, held: dict[str, str]) -> None:
    """What is generated from the document, valid and not: no fault of the server's, and answers as documented."""
    schemathesis: Any = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_dict(served.ask("GET", "openapi.json").data)
    schema.config.update(base_url=f"http://127.0.0.1:{served.port}")
    tried = 0
    for found in schema.get_all_operations():

        @hypothesis.settings(
            max_examples=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=found.ok().as_strategy())
        def check(case: Any) -> None:
            case.call_and_validate(headers={"Authorization": f"token {TOKEN}"})

        check()
        tried += 1
    assert tried >= 12
