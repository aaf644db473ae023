"""What the REST interface tells and takes, over a real server and runs of other processes."""

from __future__ import annotations

import time
from typing import Any

from serving import Served

from jupyter_durable.errors import AlreadyDecidedError
from jupyter_durable.session import Session, Store
from jupyter_durable.store import connect


def test_runs_are_listed_newest_first_and_in_portions(served: Served) -> None:
    """By name, by status, by notebook; what follows the last is asked for by it."""
    served.lives("for n in range(3):\n    with durable.run('listed'): fetch(n)")
    listed = served.good("GET", "runs?name=listed")["runs"]
    assert [run["created"] for run in listed] == sorted((run["created"] for run in listed), reverse=True)
    assert [run["status"] for run in listed] == ["completed"] * 3
    first = served.good("GET", "runs?name=listed&limit=2")
    rest = served.good("GET", f"runs?name=listed&limit=2&before={first['next']}")
    assert first["runs"] + rest["runs"] == listed
    assert "next" not in rest
    assert served.good("GET", "runs?name=listed&status=failed")["runs"] == []
    assert served.good("GET", f"runs/{listed[0]['id']}") == listed[0]


def test_a_notebooks_runs_are_found_by_its_path(served: Served) -> None:
    """As the file browser names it, and only inside of its root."""
    store = connect(str(served.path))
    session = Session(store)
    for notebook in (served.work / "deep" / "here.ipynb", served.folder / "outside.ipynb"):
        session.close_run(session.new("placed", notebook=str(notebook), cell_id="c1"), None)
    store.close()
    listed = served.good("GET", "runs?path=deep/here.ipynb")["runs"]
    assert [(run["path"], run["cell"]) for run in listed] == [("deep/here.ipynb", "c1")]
    every = served.good("GET", "runs?name=placed")["runs"]
    assert sorted(str(run["path"]) for run in every) == ["None", "deep/here.ipynb"]
    for path in ("../outside.ipynb", "/etc/passwd", "a/../../outside.ipynb", "a%00b"):
        assert served.ask("GET", f"runs?path={path}").status == 422


def test_a_killed_process_leaves_an_interrupted_run(served: Served) -> None:
    """At once: the process is looked at, not the lease awaited."""
    child = served.life(
        "with durable.run('mortal'):\n    fetch(1); fetch(2)\n    import time; time.sleep(600)"
    )
    live = served.until("mortal", lambda run: run["done"] == 2)
    assert (live["status"], live["live"]) == ("running", True)
    child.kill()
    child.wait()
    began = time.monotonic()
    dead = served.until("mortal", lambda run: run["status"] == "interrupted")
    assert time.monotonic() - began < 5
    assert (dead["live"], dead["done"], dead["steps"]) == (False, 2, 2)


def test_steps_texts_and_values(served: Served) -> None:
    """Pages go on from a mark; values are text, whatever they hold."""
    served.lives("with durable.run('valued'):\n    for n in range(3): fetch(n)")
    run = served.run("valued")["id"]
    page = served.good("GET", f"runs/{run}/steps")
    assert [row["name"] for row in page["rows"]] == ["fetch"] * 3
    assert page["run"]["status"] == "completed"
    again = served.good("GET", f"runs/{run}/steps?feed={page['feed']}&mark={page['mark']}")
    assert again["rows"] == []
    other = served.good("GET", f"runs/{run}/steps?feed=another&mark={page['mark']}")
    assert len(other["rows"]) == 3
    rows = served.good("GET", f"runs/{run}/texts?n=0,2,99")["rows"]
    assert [row["call"] for row in rows] == ["fetch(0)", "fetch(2)"]
    step = page["rows"][1]["id"]
    value = served.good("GET", f"runs/{run}/steps/{step}/values/result")
    assert "<b>bold</b>" in value["text"]
    assert served.good("GET", f"runs/{run}/steps/{step}/values/error")["form"] == "none"
    assert served.ask("GET", f"runs/{run}/steps/99.99/values/result").status == 404
    assert served.ask("GET", f"runs/{run}/steps/{step}/values/secrets").status == 404


def test_an_approval_reaches_the_process_that_waits(served: Served) -> None:
    """The first decision stands, and whoever comes second is told who was first."""
    with served.waiting("asks", "with durable.run('asks', park_after=600):\n    mail('ada')") as child:
        run = served.run("asks")
        wait = run["waits"][0]
        assert wait["kind"] == "approval"
        said = {"key": wait["key"], "action": "approve"}
        recorded = served.good("POST", f"runs/{run['id']}/decisions", said)
        assert recorded["by"] == "ada (Jupyter)"
        child.wait(60)
        assert served.effects().count("mail ada") == 1
        second = served.ask("POST", f"runs/{run['id']}/decisions", {**said, "action": "reject"})
        assert (second.status, second.data.get("decided_by")) == (409, "ada (Jupyter)"), second
    with served.store() as store:
        assert [item.by for item in store.journal.inbox(run["id"])] == ["ada (Jupyter)"]


def test_doubts_are_settled_while_nothing_runs(served: Served) -> None:
    """Retry, supply and fail, and honoured when the run is taken up; what does not fit says what would."""
    code = "with durable.run('doubtful', resume='auto'):\n    print(pay(10))"
    served.lives(code)
    run = served.until("doubtful", lambda run: run["waits"])
    step = run["waits"][0]["step"]
    wrong = served.ask("POST", f"runs/{run['id']}/decisions", {"key": "approval:9.9", "action": "approve"})
    assert wrong.status in (404, 422)
    supplied = served.good("POST", f"runs/{run['id']}/steps/{step}/supply", {"value": {"paid": 10}})
    assert supplied["recorded"] is True
    for verb, body in (("retry", {}), ("fail", {"message": "no"}), ("supply", {"value": 1})):
        assert served.ask("POST", f"runs/{run['id']}/steps/{step}/{verb}", body).status == 409
    served.lives(code)
    assert served.run("doubtful")["status"] == "completed"
    assert served.effects().count("pay 10") == 1


def test_signals_and_cancel(served: Served) -> None:
    """A signal of a name counts once by its `once`; a run that was cancelled receives nothing."""
    code = "with durable.run('signalled', park_after=600):\n    print(durable.wait_for('go'))"
    with served.waiting("signalled", code) as child:
        run = served.run("signalled")["id"]
        signal = {"name": "go", "value": {"stars": 5}, "once": "1"}
        served.good("POST", f"runs/{run}/signals", signal)
        assert served.ask("POST", f"runs/{run}/signals", signal).status == 409
        child.wait(60)
    child = served.life(
        "with durable.run('endless'):\n    import time\n    while True: time.sleep(0.1); fetch(0)"
    )
    run = served.until("endless", lambda run: run["done"])["id"]
    served.good("POST", f"runs/{run}/cancel", {})
    child.wait(60)
    assert served.until("endless", lambda run: not run["live"])["status"] == "cancelled"
    assert served.ask("POST", f"runs/{run}/cancel", {}).status == 422
    assert served.ask("POST", f"runs/{run}/signals", {"name": "go"}).status == 422


def test_a_fork_goes_on_when_it_is_taken_up(served: Served) -> None:
    """From a step on, which gives something else; a value of a class is not made here."""
    code = """
        import dataclasses
        @dataclasses.dataclass
        class Found: n: int
        @durable.tool
        def find(n): count(f"find {n}"); return Found(n)
        with durable.run('forked', resume='auto'):
            first = fetch(41)["n"]; find(first); fetch(first + 1)
    """
    served.lives(code)
    run = served.run("forked")["id"]
    rows = served.good("GET", f"runs/{run}/steps")["rows"]
    refused = served.ask("POST", f"runs/{run}/fork", {"at": rows[1]["id"], "result": {"n": 1}})
    assert (refused.status, "cannot be made of JSON" in refused.data["message"]) == (422, True)
    assert f"%durable fork {run[:13]} --at {rows[1]['id']} --set result=" in refused.data["hint"]
    made = served.good("POST", f"runs/{run}/fork", {"at": rows[0]["id"], "result": {"n": 7}})
    item = served.good("GET", f"runs/{made['run']}")
    assert (item["parent"], item["live"], item["status"]) == (run, False, "interrupted")
    again = served.good("POST", f"runs/{run}/fork", {"at": rows[2]["id"]})
    assert again["replayed"] == 2
    assert served.effects().count("find 41") == 1


def test_exports_are_files_to_save(served: Served) -> None:
    """Not pages of this server: what tools said is in them."""
    served.lives("with durable.run('exported'):\n    fetch(1)")
    run = served.run("exported")["id"]
    for kind, starts in (("html", "<!doctype"), ("json", "{"), ("otel", "{")):
        answer = served.ask("GET", f"runs/{run}/export?format={kind}")
        assert answer.status == 200
        assert answer.headers["content-disposition"].startswith('attachment; filename="exported')
        assert "sandbox" in answer.headers["content-security-policy"]
        text = answer.data if isinstance(answer.data, str) else "{"
        assert text.lower().startswith(starts)


def test_a_run_is_deleted_and_everybody_is_told(served: Served) -> None:
    """Gone from the list, and from whoever follows."""
    served.lives("with durable.run('doomed'):\n    fetch(1)")
    run = served.run("doomed")["id"]
    assert served.good("DELETE", f"runs/{run}") == {"deleted": True, "kept": False}
    assert served.good("GET", "runs?name=doomed")["runs"] == []
    for verb, path in (("GET", ""), ("GET", "/steps"), ("DELETE", ""), ("GET", "/export")):
        assert served.ask(verb, f"runs/{run}{path}").status == 404


def test_nothing_is_unpickled(served: Served) -> None:
    """A value that would act when it is loaded does not, wherever it is."""
    served.lives(
        """
        class Bomb:
            def __reduce__(self): return (count, ("unpickled",))
        @durable.tool
        def bombs(x): return [Bomb(), {"deep": Bomb()}]
        try:
            with durable.run('bombs'):
                bombs(Bomb())
        except BaseException as error:
            print(error)
        """
    )
    before = served.effects().count("unpickled")  # the process checks what it records
    run = served.run("bombs")["id"]
    page = served.good("GET", f"runs/{run}/steps")
    for row in page["rows"]:
        for what in ("arguments", "result", "error", "messages", "text", "output", "log"):
            served.good("GET", f"runs/{run}/steps/{row['id']}/values/{what}")
    assert page["rows"]
    assert served.effects().count("unpickled") == before


def test_the_store_may_be_replaced_and_may_be_broken(served: Served) -> None:
    """Another file is another store; one that cannot be read is said, and the server goes on."""
    kept = {path: path.read_bytes() for path in served.folder.glob("journal*") if path.is_file()}
    served.path.rename(served.folder / "away.db")
    for name in ("journal.db-wal", "journal.db-shm"):
        (served.folder / name).unlink(missing_ok=True)
    served.path.write_bytes(b"this is no database" * 500)
    broken = served.ask("GET", "runs")
    assert broken.status == 503
    assert broken.data["message"]
    served.path.unlink()
    for path, data in kept.items():
        if not path.name.endswith(("-shm", ".lock")):
            path.write_bytes(data)
    assert served.good("GET", "runs")["runs"]


def test_two_servers_and_a_program_decide_at_once(served: Served) -> None:
    """One of them is first, whoever it is."""
    with served.waiting("raced", "with durable.run('raced', park_after=600):\n    mail('bob')"):
        run = served.run("raced")
        key = run["waits"][0]["key"]
        with served.store() as store:
            outcome: list[Any] = []
            try:
                Store(store.journal).reject(run["id"], key, "no", by="terminal")
                outcome.append("terminal")
            except AlreadyDecidedError:
                outcome.append("late")
        answer = served.ask("POST", f"runs/{run['id']}/decisions", {"key": key, "action": "approve"})
        assert outcome == ["terminal"]
        assert (answer.status, answer.data["decided_by"]) == (409, "terminal")
