"""Where two runs part, and how forks are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from forked_agents import go_on, three
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.session.watching import Watch


def test_a_fork_differs_from_its_parent_where_it_was_forked(bench: Bench) -> None:
    """The first step that differs, then the others; what they share is counted, not shown."""
    agent = three(bench)
    bench.new(agent)
    parent = bench.record.id
    go_on(bench, bench.facade.fork("run", "1.1", result=50), agent)

    found = bench.facade.diff(parent, bench.record.id)

    assert found.first is found.steps[0]
    assert [(s.change, s.at, s.arguments, s.result) for s in found.steps] == [
        ("changed", "1.1", (), ("-11", "+50")),
        (
            "changed",
            "1.2 → 1.3",
            ('   "argument 1": 11,', '-  "argument 1": 11,', '+  "argument 1": 50,'),
            (),
        ),
    ] or [s.at for s in found.steps] == ["1.1", "1.2 → 1.3"]
    assert found.steps[1].result == ("-111", "+150")
    assert '-  "argument 1": 11,' in found.steps[1].arguments
    assert (found.equal, found.shared, found.same) == (1, 1, False)
    assert "first differs at step 1.1 add" in str(found)
    assert bench.facade.diff(parent, parent).same


def test_unrelated_runs_of_a_cell_are_told_apart_by_what_they_do(bench: Bench) -> None:
    """Tasks in another order are no difference; a step more in one of them is one."""
    order = [False]

    @durable.tool
    async def work(name: str, n: int) -> str:
        await asyncio.sleep(0.001 * (n if order[0] else 3 - n))
        return f"{name}{n}"

    async def strand(name: str, extra: bool) -> None:
        await work(name, 0)
        if extra:
            await work(name, 7)
        await work(name, 1)

    def run(extra: bool) -> Callable[[], None]:
        async def agent() -> None:
            await asyncio.gather(*(strand(name, extra and name == "b") for name in "abc"))

        return lambda: asyncio.run(agent())

    bench.new(run(False))
    first = bench.record.id
    order[0] = True
    bench.new(run(False))
    assert bench.facade.diff(first, bench.record.id).same
    bench.new(run(True))
    found = bench.facade.diff(first, bench.record.id)
    assert [(s.change, s.result) for s in found.steps] == [("added", ("+b7",))]
    assert [s.change for s in bench.facade.diff(bench.record.id, first).steps] == ["missing"]


def test_secrets_and_markup_are_inert_in_a_diff(bench: Bench) -> None:
    """Nothing that a tool said is markup, and no key is shown."""
    said = ["a"]
    tool = bench.tool(lambda api_key: {"text": said[0], "token": "sk-" + "a1B2" * 12}, name="<i>tool</i>")
    bench.new(lambda: tool(api_key="sk-" + "c3D4" * 12))
    first = bench.record.id
    said[0] = "<script>alert(1)</script>"
    bench.new(lambda: tool(api_key="sk-" + "e5F6" * 12))
    found = bench.facade.diff(first, bench.record.id)
    assert not found.same
    for text in (str(found), found.html()):
        assert "c3D4" not in text
        assert "a1B2" not in text
    assert "<script>" not in found.html()
    assert "<i>" not in found.html()


def test_a_given_result_says_what_the_call_had_done_to_its_arguments(bench: Bench) -> None:
    """The call is not made, and so does not change its list; nobody is left to find that out."""

    def agent() -> tuple[str, list[str]]:
        notes = ["a"]
        said = note(notes, "b")
        return said, notes

    note = bench.tool(lambda notes, text: notes.append(text) or f"noted {text}", name="note")
    assert bench.new(agent) == ("noted b", ["a", "b"])
    forked = bench.facade.fork("run", "note", result="no")
    assert forked.unmade == ("argument 1",)
    assert "had changed argument 1 in place, which is not done here" in str(forked)
    assert go_on(bench, forked, agent) == ("no", ["a"])
    assert bench.facade.fork(forked.parent, "note").unmade == ()


def test_a_given_result_is_told_from_one_that_was_made(bench: Bench) -> None:
    """In the lists and in the timeline: who gave it."""
    agent = three(bench)
    bench.new(agent)
    assert {step.given for step in bench.steps()} == {None}
    go_on(bench, bench.facade.fork("run", "1.1", result=50, by="ada"), agent)
    assert [step.given for step in bench.steps() if not step.history] == [None, "ada", None]
    watch = Watch(bench.facade, bench.record.id)
    watch.read()
    rows = [row for page in watch.pages() for row in page["rows"] if not row.get("old")]
    assert [row.get("given") for row in rows] == [None, "ada", None]


@pytest.mark.parametrize("change", [{"result": 50}, {"arguments": {"n": 49}}, {}])
def test_the_timeline_and_the_lists_show_forks_as_they_are(bench: Bench, change: dict[str, Any]) -> None:
    """Followed from before it began, or read when it has ended: the same rows; nothing is counted twice."""

    @durable.tool
    def add(total: int, n: int) -> int:
        return total + n

    def agent() -> list[int]:
        found = [0]
        for n in (1, 10, 100):
            found.append(add(found[-1], n))
        return found

    bench.new(agent)
    forked = bench.facade.fork("run", "1.1", **change)
    followed = Watch(bench.facade, forked.id)
    followed.read()
    assert bench.facade.run(forked.id).steps.completed == forked.replayed
    assert "in doubt" not in str(bench.facade.plan(forked.id))
    bench.resume(agent)
    followed.read()
    fresh = Watch(bench.facade, forked.id)
    fresh.read()

    def rows(watch: Watch) -> list[Any]:
        return [row for page in watch.pages() for row in page["rows"]]

    latest = {row["n"]: row for row in rows(followed)}
    assert latest == {row["n"]: row for row in rows(fresh)}
    assert sum(not row.get("old") for row in latest.values()) == 3
    assert bench.facade.run(forked.id).steps.completed == 3
    assert [s.status for s in bench.steps() if not s.history] == ["completed"] * 3
