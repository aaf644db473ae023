"""What an exchange's outcome is: attempts and giving up, cancelling, crashing, diverging."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from http_server import Server, replays
from runs import Bench

from jupyter_durable.errors import DivergenceError
from jupyter_durable.testing import KILL_POINTS, Crash, crash_at


def patient(send: Any, tries: int = 5) -> Any:
    """What every SDK does: try again."""
    for left in reversed(range(tries)):
        try:
            answer = send()
        except httpx2.TransportError:
            if not left:
                raise
        else:
            if answer.status_code < 500 or not left or answer.headers.get("x-should-retry") == "false":
                return answer
    raise AssertionError


@pytest.mark.parametrize("path", ["/status?code=503&times=2", "/drop?times=2"])
def test_a_success_is_the_outcome_whatever_came_before(bench: Bench, server: Server, path: str) -> None:
    """Replay answers the first call with it."""
    calls: list[str] = []

    def agent() -> Any:
        def send() -> Any:
            calls.append(path)
            return httpx2.get(server.url + path)

        return patient(send).json()

    assert bench.new(agent)["hit"] == 3
    assert len(calls) == 3
    assert replays(bench, server, agent)["hit"] == 3
    assert len(calls) == 4
    (step,) = bench.steps()
    assert (step.status, step.attempts) == ("completed", 3)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/status?code=503", "/drop"])
def test_what_was_given_up_replays_as_it_was(bench: Bench, server: Server, path: str) -> None:
    """The same error for each of its attempts, and then the run goes on."""
    seen: list[Any] = []

    def agent() -> Any:
        try:
            first = patient(lambda: httpx2.get(server.url + path), 3)
            first = [first.status_code, first.content]
        except httpx2.TransportError as error:
            first = [type(error), str(error)]
        return [first, httpx2.get(server.url + "/json").json()]

    value = bench.new(agent)
    assert replays(bench, server, agent) == value
    first, second = bench.steps()
    assert (first.status, first.attempts, second.status) == ("failed", 3, "completed")
    bench.crash("after-start", 4, agent)
    assert server.hits[f"GET {path}"] == 6
    seen = bench.resume(agent)
    assert server.hits[f"GET {path}"] == 6
    assert seen[1]["hit"] == 2


@pytest.mark.parametrize("path", ["/status?code=503&times=3", "/drop?times=3"])
def test_an_error_that_ends_the_run_is_tried_again(bench: Bench, server: Server, path: str) -> None:
    """The step stays open."""

    def agent() -> Any:
        return patient(lambda: httpx2.get(server.url + path), 3).raise_for_status().json()

    with pytest.raises((httpx2.TransportError, httpx2.HTTPStatusError)):
        bench.new(agent)
    assert bench.resume(agent)["hit"] == 4
    assert not any("came from no step" in notice for notice in bench.notices)
    assert bench.steps()[0].attempts == 4


def test_a_4xx_that_ends_the_run_is_tried_again(bench: Bench, server: Server) -> None:
    """A wrong key, put right: the error has the response, and that is the step's."""

    def agent() -> Any:
        answer = httpx2.get(server.url + "/status?code=401&times=1")
        return answer.raise_for_status().json()

    with pytest.raises(httpx2.HTTPStatusError):
        bench.new(agent)
    assert bench.steps()[0].status == "failed"
    assert bench.resume(agent)["hit"] == 2


def test_a_4xx_that_was_handled_is_final(bench: Bench, server: Server) -> None:
    """Like any error that the code caught."""

    def agent() -> Any:
        answer = httpx2.get(server.url + "/status?code=404&times=1")
        return [answer.status_code, httpx2.get(server.url + "/json").json()]

    assert bench.new(agent)[0] == 404
    assert replays(bench, server, agent)[0] == 404


@pytest.mark.slow
def test_a_fallback_made_while_handling(bench: Bench, server: Server) -> None:
    """`except ...: other()`, cut off there: the failure replays, the fallback is made."""

    def agent() -> Any:
        try:
            return patient(lambda: httpx2.get(server.url + "/drop"), 2)
        except httpx2.TransportError:
            return httpx2.get(server.url + "/json").json()

    bench.crash("after-start", 3, agent)
    assert bench.resume(agent)["hit"] == 1
    assert server.hits["GET /drop"] == 2
    assert replays(bench, server, agent)["hit"] == 1


def test_killed_between_attempts(bench: Bench, server: Server) -> None:
    """They go on counting."""

    def agent() -> Any:
        return patient(lambda: httpx2.get(server.url + "/status?code=500&times=3")).json()

    bench.crash("after-attempt", 2, agent)
    assert bench.resume(agent)["hit"] == 4
    assert bench.steps()[0].attempts == 4


@pytest.mark.slow
def test_the_same_call_again_after_a_success_is_a_step_of_its_own(bench: Bench, server: Server) -> None:
    """Sampling: the first failed once, all are equal."""

    def agent() -> Any:
        return [
            patient(lambda: httpx2.get(server.url + "/status?code=500&times=1")).json()["hit"]
            for _ in range(3)
        ]

    value = bench.new(agent)
    assert value == [2, 3, 4]
    assert replays(bench, server, agent) == value
    server.hits.clear()
    bench.crash("after-start", 4, agent)
    assert server.total == 3
    assert bench.resume(agent) == value
    assert server.total == 4


@pytest.mark.slow
def test_code_that_does_not_mind_a_failure(bench: Bench, server: Server) -> None:
    """It makes the same call twice whatever comes; on replay both are answered."""

    def agent() -> Any:
        answers = [httpx2.get(server.url + "/status?code=503&times=1").status_code for _ in range(2)]
        return len(answers), httpx2.get(server.url + "/json").json()

    value = bench.new(agent)
    assert replays(bench, server, agent) == value


@pytest.mark.parametrize("path", ["/status?code=404&times=2", "/status?code=404"])
def test_a_4xx_that_is_asked_for_again_is_a_step_each_time(bench: Bench, server: Server, path: str) -> None:
    """Who polls until something is there, in a coroutine: on replay it is told the same at once."""

    async def agent() -> Any:
        async with asyncio.timeout(10), httpx2.AsyncClient() as client:
            seen = [(await client.get(server.url + path)).status_code for _ in range(3)]
            return [seen, (await client.get(server.url + "/json")).json()["hit"]]

    value = bench.new(agent)
    assert [step.attempts for step in bench.steps()] == [1, 1, 1, 1]
    assert replays(bench, server, agent) == value


@pytest.mark.slow
def test_an_sdk_says_which_call_is_a_retry(bench: Bench, server: Server) -> None:
    """A call that is the first of its kind is no attempt of the one before, which was given up."""

    def agent() -> Any:
        found = []
        for retry in ("0", "1", "0", "1"):
            answer = httpx2.get(
                server.url + "/status?code=500&times=2", headers={"x-stainless-retry-count": retry}
            )
            if answer.headers.get("x-should-retry") == "false":
                found.append(answer.status_code)
                continue
            found.append(answer.status_code)
        return found

    assert bench.new(agent) == [500, 500, 200, 200]
    assert [step.status for step in bench.steps()] == ["failed", "completed", "completed"]
    assert replays(bench, server, agent) == [500, 500, 200, 200]


@pytest.mark.slow
@pytest.mark.parametrize("survives", [True, False])
def test_a_task_that_fails(bench: Bench, server: Server, survives: bool) -> None:
    """If the run goes on without it, it was given up; if the run ends by it, it is tried again."""

    async def fetch(path: str) -> Any:
        async with httpx2.AsyncClient() as client:
            answer = await client.get(server.url + path)
            return answer.raise_for_status().json()["hit"]

    async def agent() -> Any:
        first = await asyncio.gather(
            fetch("/status?code=503&times=1"), fetch("/json"), return_exceptions=survives
        )
        second = await asyncio.gather(fetch("/json?2"), fetch("/json?3"))
        return [str(value) for value in (*first, *second)]

    if survives:
        bench.crash("after-start", 3, agent)
        value = bench.resume(agent)
        assert "503" in value[0]
        assert server.hits["GET /status?code=503&times=1"] == 1
        assert replays(bench, server, agent) == value
        return
    with pytest.raises(httpx2.HTTPStatusError):
        bench.new(agent)
    assert bench.resume(agent)[0] == "2"


def test_given_up_before_a_strand_is_spawned(bench: Bench, server: Server) -> None:
    """The parent goes on by spawning: that is going on, too."""

    async def agent() -> Any:
        async with httpx2.AsyncClient() as client:

            async def fetch(path: str) -> Any:
                return (await client.get(server.url + path)).json()

            status = (await client.get(server.url + "/status?code=503&times=1")).status_code
            return [status, *await asyncio.gather(fetch("/json?1"), fetch("/json?2"))]

    bench.crash("after-call", 3, agent)
    value = bench.resume(agent)
    assert value[0] == 503
    assert server.hits["GET /status?code=503&times=1"] == 1


@pytest.mark.slow
def test_threads_give_up_too(bench: Bench, server: Server) -> None:
    """A strand in a thread, ended by its error, and a run that goes on."""

    def agent() -> Any:
        found: list[Any] = []

        def work() -> None:
            try:
                patient(lambda: httpx2.get(server.url + "/drop"), 2)
            except httpx2.TransportError as error:
                found.append(type(error).__name__)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return [*found, httpx2.get(server.url + "/json").json()]

    value = bench.new(agent)
    assert replays(bench, server, agent) == value
    assert server.hits["GET /drop"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/slow?s=5", "/hold"])
def test_cancelled_by_a_timeout_that_the_run_survives(bench: Bench, server: Server, path: str) -> None:
    """On replay it waits to be cancelled again, and sends nothing."""

    async def agent() -> Any:
        async with httpx2.AsyncClient() as client:
            try:
                async with asyncio.timeout(0.2), client.stream("GET", server.url + path) as answer:
                    async for _ in answer.aiter_raw():
                        pass
            except TimeoutError:
                return "timed out", (await client.get(server.url + "/json")).json()

    value = bench.new(agent)
    assert value[0] == "timed out"
    assert replays(bench, server, agent) == value
    assert bench.steps()[0].status == "cancelled"


def test_the_loser_of_a_race(bench: Bench, server: Server) -> None:
    """Cancelled, with a stream half read."""

    async def agent() -> Any:
        async with httpx2.AsyncClient() as client:

            async def read(path: str) -> Any:
                async with client.stream("GET", server.url + path) as answer:
                    return [part async for part in answer.aiter_raw()]

            tasks = [asyncio.create_task(read(path)) for path in ("/hold", "/stream?n=2&gap=0.02")]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            return [task.result() for task in done], (await client.get(server.url + "/json")).json()

    value = bench.new(agent)
    assert replays(bench, server, agent) == value


def busy(server: Server) -> Any:
    """An agent with a bit of everything."""

    async def agent() -> Any:
        found: list[Any] = []
        async with httpx.AsyncClient() as client:

            async def whole(path: str) -> Any:
                return (await client.get(server.url + path)).content

            async def stream(n: int) -> Any:
                async with client.stream("GET", f"{server.url}/chunks?n=3&s={n}") as answer:
                    return b"".join([part async for part in answer.aiter_raw()])

            found.append(await whole("/json?a"))
            found += await asyncio.gather(stream(1), whole("/gzip"), stream(2))
            found.append((await client.get(server.url + "/status?code=404&x")).status_code)
            for _ in range(3):
                answer = await client.get(server.url + "/status?code=500&times=1")
                if answer.status_code == 200:
                    break
            found.append(await stream(3))
            found.append(await asyncio.to_thread(lambda: httpx.get(server.url + "/json?b").status_code))
        return [len(part) if isinstance(part, bytes) else part for part in found]

    return agent


@pytest.mark.slow
def test_crashes_everywhere(server: Server) -> None:
    """Every kill point, every time it is passed: the same result, and no completed request made again."""
    agent = busy(server)
    bench = Bench()
    with crash_at("before-close", 99) as passed:
        expected = bench.new(agent)
    once = server.hits.copy()
    for point in KILL_POINTS:
        for nth in range(1, passed.count(point) + 1):
            bench = Bench()
            server.hits.clear()
            with crash_at(point, nth), contextlib.suppress(Crash):
                bench.new(agent)
            records = bench.store.runs()
            if not records:
                assert point == "before-open"
                continue
            value = bench.execute_replay(agent) if records[0].status == "completed" else bench.resume(agent)
            assert value == expected, (point, nth)
            # One more for each that was under way, of which there are at most three.
            again = server.hits - once
            assert set(server.hits) == set(once)
            assert again.total() <= 3, (point, nth, again)
            assert not again or max(again.values()) == 1, (point, nth, again)
            assert bench.execute_replay(agent) == expected


@pytest.mark.slow
def test_stopped_while_it_waited_to_try_again(bench: Bench, server: Server) -> None:
    """A timeout around an SDK's back-off: on replay it is the timeout again, not the refusal."""

    async def agent() -> Any:
        async with httpx2.AsyncClient() as client:
            try:
                async with asyncio.timeout(0.3):
                    while True:
                        answer = await client.get(server.url + "/status?code=503")
                        if answer.status_code < 500:
                            return answer.status_code
                        # As an SDK waits.
                        await asyncio.sleep(float(answer.headers.get("retry-after-ms", 200)) / 1000)
            except TimeoutError:
                return "timed out", (await client.get(server.url + "/json")).json()

    value = bench.new(agent)
    assert value[0] == "timed out"
    assert replays(bench, server, agent) == value


@pytest.mark.slow
def test_a_long_body_in_pieces(bench: Bench, server: Server) -> None:
    """Of 40 MB, few are in memory at once, and all come back."""
    import hashlib

    def agent() -> Any:
        digest = hashlib.sha256()
        with httpx2.stream("GET", server.url + "/long?mb=40") as answer:
            for part in answer.iter_raw():
                digest.update(part)
        return digest.hexdigest()

    value = bench.new(agent)
    assert replays(bench, server, agent) == value


def test_a_model_call_that_diverges_says_what_it_is_told_apart_by(bench: Bench, server: Server) -> None:
    """Each part that differs, both values; not the host, which another provider's may be, nor the model."""
    base, said, more = "/json/v1", "the time is 12:00", {}

    def agent() -> Any:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": said}]
        body = {
            "model": f"m{base}",
            "messages": messages,
            "temperature": 0.5,
            "api_key": "sk-" + "a" * 40,
            **more,
        }
        return httpx2.post(server.url + base + "/chat/completions", json=body).json()["hit"]

    assert bench.new(agent) == 1
    assert bench.steps()[0].kind == "model"
    base = "/json/elsewhere/v1"
    assert replays(bench, server, agent) == 1  # whoever answers, the call is the same
    said, more = "the time is 12:01", {"temperature": 0.9, "n": 2}
    with pytest.raises(DivergenceError) as caught:
        bench.execute_replay(agent)
    error = caught.value
    assert error.difference.splitlines() == [
        "messages[1].content: 'the time is 12:00' recorded, 'the time is 12:01' now",
        "temperature: 0.5 recorded, 0.9 now",
        "n: nothing recorded, 2 now",
    ]
    assert all(line in str(error) for line in error.difference.splitlines())
    assert "differs:  messages[1].content" in str(error)
    assert "sk-aaa" not in str(error)


def test_a_request_that_diverges_says_where(bench: Bench, server: Server) -> None:
    """Its query and its body; a signature that changes with every request is no part of it."""
    query, sent = "q=1&sig=abcdefghijklmnop0123456789", {"a": 1}

    def agent() -> Any:
        return httpx2.post(f"{server.url}/json?{query}", json=sent).json()["hit"]

    bench.new(agent)
    query = "q=1&sig=0123456789abcdefghijklmnop"
    assert replays(bench, server, agent) == 1
    sent = {"a": 2}
    with pytest.raises(DivergenceError) as caught:
        bench.execute_replay(agent)
    assert caught.value.difference == "body.a: 1 recorded, 2 now"
    query = "q=2"
    with pytest.raises(DivergenceError) as caught:
        bench.execute_replay(agent)
    assert "q=1' recorded" in caught.value.difference.splitlines()[0]


def test_what_a_library_asks_for_while_it_is_imported_is_no_step(
    bench: Bench, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in a thread that it starts: another life of the run in this process finds it imported, and asks for nothing."""
    from jupyter_durable.runtime import local

    (tmp_path / "asks_at_import.py").write_text(
        "import threading\nimport httpx\n"
        f"def ask(n):\n    httpx.get(f'{server.url}/json?import={{n}}')\n"
        "ask(1)\nthread = threading.Thread(target=ask, args=(2,))\nthread.start()\nthread.join()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(local, "_installed", lambda: (f"{tmp_path}/",))

    def agent() -> Any:
        import asks_at_import  # noqa: F401

        return httpx.get(f"{server.url}/json?own=1").json()["hit"]

    assert bench.new(agent) == 1
    assert server.total == 3
    assert [step.name for step in bench.steps()] == [f"GET {server.url.removeprefix('http://')}/json"]
    assert bench.execute_replay(agent) == 1
    assert server.total == 3
    sys.modules.pop("asks_at_import")
    assert bench.execute_replay(agent) == 1
    assert server.total == 5
