"""A run's journal as rows that can be followed: what they say, what changes them, and that nothing in them acts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import RunNotFoundError
from jupyter_durable.session.watching import Watch
from jupyter_durable.timeline import rows
from jupyter_durable.timeline.bundle import MOST, bundle
from jupyter_durable.timeline.rows import MIME, Page, Row


def watch(bench: Bench, **how: Any) -> Watch:
    """The newest run's timeline, read."""
    made = Watch(bench.facade, bench.record.id, **how)
    made.read()
    return made


def all_rows(made: Watch, since: int = 0) -> list[Row]:
    """The rows of all pages since a mark."""
    return [row for page in made.pages(since) for row in page["rows"]]


def by_schema(page: Page) -> None:
    """Fail unless the page is what its schema says, as JSON."""
    import jsonschema

    jsonschema.validate(json.loads(json.dumps(page)), rows.schema())


def test_a_row_says_what_the_step_was_and_did() -> None:
    """Call, result, error, attempts, log: one line each; the page fits its schema."""
    bench = Bench()

    @bench.tool(name="fetch", retries=1, backoff=0.0)
    def fetch(url: str) -> dict[str, int]:
        durable.log("fetched", bytes=7)
        if bench.effects[f"fetch({url!r},)"] == 1 and url == "b":
            raise ValueError("not yet")
        return {"n": 1}

    bench.new(lambda: [fetch("a"), fetch("b")])
    made = watch(bench)
    (page,) = made.pages()
    by_schema(page)
    first, second = page["rows"]
    assert (first["id"], first["call"], first["says"]) == ("1.0", "fetch('a')", "{'n': 1}")
    assert [line["text"] for line in first["log"]] == ["fetched bytes=7"]
    assert "attempts" not in first
    assert second["attempts"] == 2
    assert page["run"]["counts"]["completed"] == 2
    assert [lane["name"] for lane in page["lanes"]] == ["main"]


def test_lanes_are_the_scopes() -> None:
    """Strands of one function are told apart, and what is inside an attempt names its step."""
    bench = Bench()
    inner = bench.tool(lambda n: n, name="inner")

    @durable.tool
    def outer(n: int) -> int:
        return int(inner(n))

    async def strand(n: int) -> int:
        return await asyncio.to_thread(outer, n)

    async def both() -> list[int]:
        return list(await asyncio.gather(strand(1), strand(2)))

    bench.new(lambda: asyncio.run(both()))
    made = watch(bench)
    (page,) = made.pages()
    names = [lane["name"] for lane in page["lanes"]]
    assert len(set(names)) == len(names)
    assert sum("step" in lane for lane in page["lanes"]) == 2
    known = {lane["id"] for lane in page["lanes"]}
    assert all(row["lane"] in known for row in page["rows"])


def test_only_what_changed_is_told() -> None:
    """A reader with a mark gets the rows that came or changed after it, each whole."""
    bench = Bench()
    call = bench.tool(lambda n: n, name="call")
    seen: list[list[tuple[str, str]]] = []

    def body() -> None:
        call(1)
        made = watch(bench)
        mark = made.feed.mark
        seen.append([(row["id"], row["status"]) for row in all_rows(made)])
        call(2)
        made.read()
        seen.append([(row["id"], row["status"]) for row in all_rows(made, mark)])
        assert not made.read()

    bench.new(body)
    assert seen == [[("1.0", "completed")], [("1.1", "completed")]]


def test_following_says_the_same_as_reading_at_once() -> None:
    """Whatever happened (crashes, resumes, retries, forks), rows that were followed equal those of a new reader."""
    bench = Bench()
    call = bench.tool(lambda n: n, name="call")

    def fails(n: int) -> int:
        if bench.effects[f"fails({n},)"] < 2:
            raise ValueError("no")
        return n

    flaky = bench.tool(fails, name="fails")

    def body() -> list[Any]:
        found = [call(1), call(2)]
        try:
            found.append(flaky(3))
        except ValueError:
            call("while unwinding")
            raise
        return found

    bench.crash("after-call", 2, body)
    made = watch(bench)
    kept = {row["n"]: row for row in all_rows(made)}
    mark = made.feed.mark
    with pytest.raises(ValueError):
        bench.resume(body)
    for again in (True, False):
        made.read()
        kept |= {row["n"]: row for row in all_rows(made, mark)}
        mark = made.feed.mark
        if again:
            bench.resume(body)
    anew = watch(bench)
    assert [kept[n] for n in sorted(kept)] == all_rows(anew)
    assert made.feed.head() | {"now": 0} == anew.feed.head() | {"now": 0}
    assert [row["old"] for row in all_rows(anew) if row.get("old")] == [True]


def test_counts_are_those_of_the_store() -> None:
    """The header agrees with `store.run`."""
    bench = Bench()
    call = bench.tool(lambda n: n, name="call")
    send = bench.tool(lambda: 1, name="send", effect="unsafe")
    bench.crash("after-call", 3, lambda: [call(1), call(2), send()])
    head = watch(bench).feed.head()
    counts = bench.facade.run(bench.record.id).steps
    assert head["counts"]["completed"] == counts.completed == 2
    assert head["status"] == bench.facade.run(bench.record.id).status
    assert head["steps"] == 3


def test_a_fork_names_its_parent_and_marks_what_it_took() -> None:
    """And the parent names the fork."""
    bench = Bench()
    call = bench.tool(lambda n: n, name="call")
    bench.new(lambda: [call(1), call(2)])
    parent = bench.record.id
    bench.fork(lambda: [call(1), call(3)])
    page = watch(bench).excerpt(60)
    assert page["run"]["parent"]["id"] == parent
    assert [(row["call"], row.get("taken", False), row.get("old", False)) for row in page["rows"]] == [
        ("call(1)", True, False),
        ("call(2)", True, True),
        ("call(3)", False, False),
    ]
    above = Watch(bench.facade, parent)
    above.read()
    assert [fork["id"] for fork in above.feed.head()["forks"]] == [bench.record.id]


def test_a_large_run_comes_in_portions() -> None:
    """Every row once, marks rising, lanes before the rows that need them; a missed portion can be asked for."""
    bench = Bench()
    call = bench.tool(lambda n: n, name="call")
    bench.new(lambda: [call(n) for n in range(1200)])
    made = watch(bench)
    pages = made.pages()
    assert [len(page["rows"]) for page in pages] == [500, 500, 200]
    assert [page["since"] for page in pages] == [0, *(page["mark"] for page in pages[:-1])]
    assert [page.get("more", False) for page in pages] == [True, True, False]
    assert all_rows(made, pages[0]["mark"]) == [row for page in pages[1:] for row in page["rows"]]
    assert "call" not in pages[0]["rows"][0]
    (told,) = made.texts([0])
    assert (told["call"], told["says"]) == ("call(0)", "0")
    assert made.value("1.0", "arguments")["text"] == "0"


def test_a_window_keeps_up_with_a_run_that_is_too_fast() -> None:
    """The last rows are right; how many are left out is said."""
    bench = Bench()
    call = bench.tool(lambda n: n, name="call")
    pages: list[Page] = []

    def body() -> None:
        call("first")
        made = watch(bench, limit=20)
        for n in range(300):
            call(n)
        made.read()
        pages.append(made.excerpt(10))

    bench.new(body)
    (page,) = pages
    assert [row["call"] for row in page["rows"]] == [f"call({n})" for n in range(290, 300)]
    assert page["left_out"] > 0
    assert page["run"]["status"] == "running"


def test_a_name_in_another_notebook_is_no_relative() -> None:
    """A run that is not there is an error, not an empty timeline."""
    with pytest.raises(RunNotFoundError):
        Watch(Bench().facade, "nothing")


def test_secrets_are_dots_wherever_a_row_says_something() -> None:
    """Arguments, results, errors, logs, whole values."""
    bench = Bench()
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"

    @durable.tool
    def leak(text: str, api_key: str) -> dict[str, str]:
        durable.log(f"using {key}")
        return {"said": f"Bearer {key}", "password": "hunter-two"}

    @durable.tool
    def fail() -> None:
        raise ValueError(f"refused: {key}")

    def body() -> None:
        leak(f"x {key}", api_key="a-plain-word-secret")
        with contextlib.suppress(ValueError):
            fail()

    bench.new(body)
    made = watch(bench)
    told = json.dumps(made.pages()) + json.dumps(made.excerpt(60))
    for step in ("1.0", "1.1"):
        for what in ("arguments", "result", "error", "log", "text", "messages", "output"):
            told += json.dumps(made.value(step, what))
    assert key not in told
    assert "hunter-two" not in told
    assert "a-plain-word-secret" not in told
    assert json.dumps("•••")[1:-1] in told


def test_a_bundle_is_small_whatever_is_in_it() -> None:
    """Oldest rows go first, and how many are missing is said in every form."""
    bench = Bench()
    call = bench.tool(lambda text: text, name="call")
    bench.new(lambda: [call(f"{n} " + "ü<&>" * 200) for n in range(200)])
    data = bundle(watch(bench).excerpt(150), "✓ run")
    size = len(json.dumps(data[MIME])) + len(data["text/html"].encode()) + len(data["text/plain"].encode())
    assert size <= MOST
    assert data[MIME]["left_out"] + len(data[MIME]["rows"]) == 200
    assert f"the last {len(data[MIME]['rows'])} of 200 steps" in data["text/html"]
    by_schema(data[MIME])


def test_the_html_of_a_bundle_has_nothing_in_it_that_acts() -> None:
    """Names and values are text; there are no links, pictures or scripts at all."""
    from html.parser import HTMLParser

    attack = '"><img src=x onerror=alert(1)><script>alert(1)</script></td></details>'
    bench = Bench()
    call = bench.tool(lambda text: text, name=attack)
    bench.new(lambda: [call(attack)])
    found: list[tuple[str, list[str]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            found.append((tag, [name for name, _ in attrs]))

    Tags().feed(bundle(watch(bench).excerpt(60), attack)["text/html"])
    assert {tag for tag, _ in found} <= {
        "div",
        "span",
        "b",
        "details",
        "summary",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert {name for _, names in found for name in names} <= {"style", "aria-hidden", "scope"}


@pytest.mark.slow
def test_following_costs_what_is_new() -> None:
    """A tick of a run of 5,000 steps in which one more was made does not fold the others again.

    Beside the floor of folding them all, which the first look does.
    """
    bench = Bench()
    call = bench.tool(lambda n: n, name="call")
    ticks: list[float] = []
    folds: list[float] = []

    def body() -> None:
        for n in range(5000):
            call(n)
        for _ in range(3):
            began = time.perf_counter()
            made = watch(bench)
            folds.append(time.perf_counter() - began)
        mark = made.feed.mark
        for n in range(20):
            call(n)
            began = time.perf_counter()
            made.read()
            assert len(all_rows(made, mark)) == 1
            ticks.append(time.perf_counter() - began)
            mark = made.feed.mark

    bench.new(body)
    assert min(ticks) < min(folds) / 50


def test_the_package_and_the_function_have_one_name() -> None:
    """`durable.timeline` can be called before and after its modules were imported."""
    import subprocess
    import sys

    code = "import jupyter_durable as d; f = d.timeline; import jupyter_durable.timeline.view as v; print(callable(f), callable(d.timeline), v.brief('f()'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True f()\n"


@pytest.mark.slow
def test_what_a_widget_sends_stays_small() -> None:
    """Front ends that pass messages through a service of their own (Colab, VS Code) have limits that no run may reach."""
    from jupyter_durable.timeline.widget import Timeline

    bench = Bench()
    call = bench.tool(lambda n, text: text * 3, name="call")
    bench.new(lambda: [call(n, "a long text " * 400) for n in range(1500)])
    sent: list[dict[str, Any]] = []

    class Probe(Timeline):
        def send(self, content: Any, buffers: Any = None) -> None:
            sent.append(content)

    widget = Probe(watch(bench))
    try:
        widget._asked(None, {"type": "since", "id": 1, "feed": "", "mark": 0}, [])
        widget._asked(None, {"type": "texts", "id": 2, "ns": list(range(5000))}, [])
        widget._asked(None, {"type": "value", "id": 3, "step": "1.7", "what": "result", "offset": 0}, [])
        sizes = [len(json.dumps(one)) for one in [*sent, widget.snapshot]]
        assert len(sent) >= 5
        assert {one["type"] for one in sent} == {"page", "reply"}
        assert not any("error" in one for one in sent)
        assert max(sizes) < 300_000, sizes
    finally:
        widget.close()


def test_an_error_is_its_traceback() -> None:
    """Recorded frames and causes, as Python prints them."""
    bench = Bench()

    @durable.tool
    def fail() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError):
        bench.new(fail)
    text = watch(bench).value("1.0", "error")["text"]
    assert "KeyError" in text
    assert text.endswith("ValueError: outer")
    assert 'raise ValueError("outer") from error' in text
