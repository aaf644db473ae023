"""Steps that were cut off: who says whether they happened, and how their attempts go on."""

from __future__ import annotations

import threading

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import DurableError


@pytest.mark.parametrize(
    ("say", "result", "sent"), [("retry", "sent", 2), ("supply", "by hand", 1), ("fail", "no", 1)]
)
def test_an_unsafe_step_in_doubt_waits_for_a_person(bench: Bench, say: str, result: str, sent: int) -> None:
    """`retry`, `supply` and `fail` each do what they say, while the run waits."""

    send = bench.tool(lambda: "sent", name="send", effect="unsafe")

    def agent() -> str:
        try:
            return str(send())
        except DurableError as error:
            return "no" if "lost" in str(error) else "?"

    bench.crash("after-call", 1, agent)
    run_id = bench.record.id

    def person() -> None:
        while bench.facade.run(run_id).status != "waiting":
            pass
        if say == "retry":
            bench.facade.retry(run_id, "1.0")
        elif say == "supply":
            bench.facade.supply(run_id, "1.0", "by hand")
        else:
            bench.facade.fail(run_id, "1.0", "lost in the post")

    decider = threading.Thread(target=person)
    decider.start()
    assert bench.resume(agent) == result
    decider.join()
    assert bench.effects["send()"] == sent
    with pytest.raises(DurableError, match="not in doubt"):
        bench.facade.retry(run_id, "1.0")


def test_reconcile_answers_by_itself(bench: Bench) -> None:
    """`reconcile=` is called with the arguments; its result counts, `durable.RETRY` makes the call again."""
    answers: list[object] = ["found", durable.RETRY]
    send = bench.tool(
        lambda to: f"sent {to}", name="send", effect="unsafe", reconcile=lambda to: (answers.pop(0), to)[0]
    )
    for expected, sent in (("found", 1), ("sent b", 2)):
        to = "ab"[2 - len(answers)]
        bench.crash("after-call", 1, lambda to=to: send(to))
        assert bench.resume(lambda to=to: send(to)) == expected
        assert bench.effects[f"send('{to}',)"] == sent


def test_a_run_parks_when_nobody_answers(bench: Bench) -> None:
    """With `park_after` the code is left by a BaseException, and the run waits with no process."""
    send = bench.tool(lambda: "sent", name="send", effect="unsafe")

    def agent() -> str:
        try:
            return str(send())
        except Exception:
            return "swallowed"

    bench.crash("after-call", 1, agent)
    with pytest.raises(durable.RunParked):
        bench.resume(agent, park_after=0.0)
    assert bench.record.status == "waiting"
    bench.facade.supply(bench.record.id, "1.0", 42)
    assert bench.resume(agent) == "42"


def test_the_idempotency_key_is_stable(bench: Bench) -> None:
    """The same in every attempt, process and automatic fork; another in a fork made on purpose."""
    keys: list[str] = []
    send = bench.tool(lambda: keys.append(durable.idempotency_key()), name="send")
    tail = bench.tool(lambda n: n, name="tail")
    bench.crash("after-call", 1, send)
    bench.crash("after-call", 1, send, resume=True)
    bench.fork(lambda: (send(), tail(1)))
    bench.fork(lambda: (send(), tail(1)), at="1.0", kind="user")
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


def test_an_attempt_cut_off_goes_on_with_its_children(bench: Bench) -> None:
    """After a crash the children of the attempt replay; after an error the next attempt makes them anew."""
    child = bench.tool(lambda n: n, name="child")
    broken = threading.Event()

    def body() -> int:
        total = child(1) + child(2)
        if broken.is_set():
            broken.clear()
            raise OSError("once")
        return int(total)

    parent = bench.tool(body, name="parent", retries=1, backoff=lambda n: 0.0)
    bench.crash("after-outcome", 1, parent)
    broken.set()
    assert bench.resume(parent) == 3
    assert bench.effects == {"parent()": 3, "child(1,)": 2, "child(2,)": 2}


def test_attempts_are_journaled_and_survive(bench: Bench) -> None:
    """Two failures before a crash leave one of three retries."""
    failures = iter([True, True, True, False])

    def body() -> str:
        if next(failures):
            raise TimeoutError("slow")
        return "ok"

    fetch = bench.tool(body, name="fetch", retries=3, backoff=lambda n: 0.0)
    bench.crash("after-attempt", 2, fetch)
    assert bench.resume(fetch) == "ok"
    assert bench.steps()[0].attempts == 4
    assert bench.effects["fetch()"] == 4
