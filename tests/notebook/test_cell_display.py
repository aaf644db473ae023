"""The display that a durable cell makes by itself: one, kept current, that stays, and costs next to nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_agents import lines
from kernels import Kernel

from jupyter_durable.timeline.bundle import MOST
from jupyter_durable.timeline.rows import MIME

SETUP = """%load_ext jupyter_durable
import asyncio, threading, time
import jupyter_durable as durable

@durable.tool
def work(n, seconds=0.0):
    time.sleep(seconds)
    return f"result {n}"
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel with a tool."""
    with Kernel(tmp_path) as made:
        made.check(SETUP)
        yield made


def test_one_display_that_is_kept_current(kernel: Kernel) -> None:
    """The start as one line; then updates under its id, at most four a second; the end with all three forms."""
    reply = kernel.check("%%durable demo\n[work(n, 0.1) for n in range(15)][-1]")
    ids = {display["transient"]["display_id"] for display in reply.displays}
    assert len(ids) == 1
    assert [display["output_type"] for display in reply.displays][:2] == [
        "display_data",
        "update_display_data",
    ]
    assert 3 <= len(reply.displays) <= 4 * reply.seconds + 3
    last = reply.displays[-1]["data"]
    assert last["text/plain"].splitlines()[1] == "✓ demo completed: 15 executed"
    assert [row["says"] for row in last[MIME]["rows"]] == [f"'result {n}'" for n in range(15)]
    assert "15 steps: 15 completed" in last["text/html"]
    assert lines(reply)[0].startswith("▶ demo: new run")
    assert lines(reply)[-1] == "✓ demo completed: 15 executed"


def test_it_is_small_whatever_the_run(kernel: Kernel) -> None:
    """A thousand steps with long results take no more room in the notebook."""
    reply = kernel.check("%%durable big\nlen([work('x' * 3000 + str(n)) for n in range(1000)])")
    assert all(
        len(json.dumps(display["data"])) < 1.3 * MOST for display in reply.displays
    )  # quoted once more
    last = reply.displays[-1]["data"]
    assert last[MIME]["run"]["counts"]["completed"] == 1000
    assert last[MIME]["left_out"] + len(last[MIME]["rows"]) == 1000
    assert last[MIME]["run"]["steps"] == 1000
    assert last["text/plain"].endswith("✓ big completed: 1000 executed")


def test_it_costs_less_than_a_fiftieth_of_the_time(kernel: Kernel) -> None:
    """CPU time of its thread, beside the time that the cell took: for slow steps, and for as many as there can be."""
    for body in ("for n in range(25): work(n, 0.1)", "for n in range(6000): work(n)"):
        reply = kernel.check(
            "%%durable cost --new\nbegan = time.monotonic()\n"
            f"{body}\n"
            "import psutil\n"
            "took = time.monotonic() - began\n"
            "display_thread = next(t for t in threading.enumerate() if t.name == 'jupyter-durable-display')\n"
            "used = next(t.user_time + t.system_time for t in psutil.Process().threads() if t.id == display_thread.native_id)\n"
            "print(used, took, used / took)",
            timeout=120,
        )
        share = float(reply.stdout.split()[2])
        assert share < 0.02, reply.stdout


def test_a_display_that_was_cleared_is_made_again(kernel: Kernel) -> None:
    """`clear_output` takes it away; how the run ended is said all the same."""
    reply = kernel.check(
        "%%durable cleared\nfrom IPython.display import clear_output\nwork(1)\nclear_output()\nwork(2)\nprint('shown')"
    )
    last = reply.displays[-1]
    assert last["output_type"] == "display_data"
    assert last["data"]["text/plain"].endswith("✓ cleared completed: 2 executed")


def test_what_is_captured_is_the_cells_own_output(kernel: Kernel) -> None:
    """`%%capture` below the line gets what the cell displays, and nothing of ours."""
    kernel.check("%%durable captured\n%%capture cap\nprint('mine')\ndone = work(1, 0.6)")
    assert kernel.check("cap.stdout, len(cap.outputs)").result == "('mine\\n', 0)"


def test_an_error_is_shown_with_the_run_it_ended(kernel: Kernel) -> None:
    """The failed step in red, the error beside it, and what to do."""
    reply = kernel.run(
        "%%durable broken\nwork(1)\n@durable.tool\ndef bad():\n    raise ValueError('<b>no</b>')\nbad()"
    )
    assert not reply.ok
    last = reply.displays[-1]["data"]
    assert last[MIME]["run"]["status"] == "failed"
    assert last[MIME]["rows"][-1]["says"] == "ValueError: <b>no</b>"
    assert "<b>no</b>" not in last["text/html"].replace("<b>broken</b>", "")
    assert "run the cell again to go on where it failed" in last["text/plain"]


def test_a_divergence_stops_it(kernel: Kernel) -> None:
    """However the cell ends, nothing is updated afterwards, and no thread is left."""
    kernel.run("%%durable differs\nwork(1)\nraise KeyboardInterrupt")
    kernel.run("%%durable differs\nwork(2)\nraise KeyboardInterrupt")
    left = kernel.check(
        "[t.name for t in threading.enumerate() if t.name == 'jupyter-durable-display']"
    ).result
    assert left == "[]"


def test_the_widget_is_a_dom_widget(kernel: Kernel) -> None:
    """Layouts, `observe` and `link` work; what it displays means something without a front end for widgets."""
    kernel.check("%%durable demo\nwork(1)")
    code = "w = durable.timeline('demo'); import ipywidgets; (isinstance(w, ipywidgets.DOMWidget), w.status, w.snapshot['run']['name'])"
    assert kernel.check(code).result == "(True, 'completed', 'demo')"
    reply = kernel.check("w.layout.width = '50%'; display(w)")
    data = reply.displays[-1]["data"]
    assert data["text/plain"] == data["text/plain"].strip()
    assert data["text/plain"].startswith("✓ demo completed: 1 step: 1 completed")
    assert "<details>" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data
    kernel.check("w.close()")


def test_the_widget_follows_a_run_in_this_kernel(kernel: Kernel) -> None:
    """Its status changes when the run's does, without anybody asking."""
    kernel.check("%%durable demo\nwork(1)")
    kernel.check(
        "seen = []; w = durable.timeline('demo'); w.observe(lambda change: seen.append(change.new), 'status')"
    )
    kernel.run("%%durable demo --resume demo\nwork(1)\nwork(2, 1.5)\nraise KeyboardInterrupt")
    reply = kernel.check("time.sleep(2.5); print(w.status, w.snapshot['run']['steps'])")
    assert reply.stdout.split()[0] in ("completed", "interrupted")
