"""The people notebook: from top to bottom with its stand-in, and with a person in another process who is faster."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kernels import Kernel
from test_people_kernel import command, waits

from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import run_job
from jupyter_durable.session import open_store

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "03_people_in_the_loop.ipynb"
PARTY = [
    "cake: chocolate for 8",
    "cake: lemon for 8",  # the walnut cake was rejected
    "cake: shortbread for 12",  # two were asked for
    "garlands counted",
    *(f"invitation: {guest}" for guest in ("Ann", "Bert", "Cleo")),
    *(f"garland: {number}" for number in range(5)),
    "bought: candles",
    "the power went",
    "bought: champagne",
]
LONG = 180.0  # seconds that a busy machine is given
MakeKernel = Callable[..., Kernel]


def _happened(folder: Path) -> list[str]:
    return (folder / "party.txt").read_text().splitlines()


def _printed(nb: Any) -> dict[str, str]:
    return {
        cell.id: "".join(o.text for o in cell.outputs if o.output_type == "stream")
        for cell in nb.cells
        if cell.cell_type == "code"
    }


def test_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a job, whose kernel is killed near the end: everything happens once, and as the stand-in has said."""
    monkeypatch.setenv("PATIENCE", "0")
    path = Path(shutil.copy(NOTEBOOK, tmp_path))
    report = run_job(open_job(path, store=str(tmp_path / "journal.db")))
    assert report.status == "completed", f"cell {report.cell}: {report.error}"
    assert report.restarts == 1
    assert sorted(_happened(tmp_path)) == sorted(PARTY)
    printed = _printed(nbformat.read(report.output, as_version=4))
    assert "not called: Ann must not eat nuts" in printed["second-cake"]
    assert printed["biscuits"] == "There will be a shortbread cake for 12.\n"
    assert printed["seating"] == "mint tea in the garden, on 8 chairs.\n"
    assert printed["guests"] == "Ann and Cleo will come.\n"
    assert printed["finale"] == "The party is at 16:00, with candles and champagne.\n"
    assert "garlands: raise by Sam" in printed["report"]
    with open_store(tmp_path / "journal.db") as store:
        assert store.waits() == []
        decided = [
            (item.value.get("action"), item.by) for item in store.journal.inbox(store.run("finale").id)
        ]
        assert [by for _, by in decided] == ["Sam", "Sam"], "nobody was asked again after the power cut"


def test_somebody_else_is_faster(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """Cell by cell; a decision is given while no kernel is there, and is honoured by the next one."""
    cells = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}

    def fresh() -> Kernel:
        kernel = make_kernel(
            tmp_path, env={"JPY_SESSION_NAME": str(tmp_path / "nb.ipynb"), "PATIENCE": "500"}
        )
        for name in ("setup", "sam", "order-cake"):
            kernel.check(cells[name].replace('sam("cake"', '# sam("cake"'), timeout=LONG)
        return kernel

    kernel = fresh()
    reply = kernel.submit(cells["cake"])
    waits(kernel, "approval", "cake", LONG)
    command(kernel, "reject", "cake", "order_cake", "no cake")
    kernel.wait(reply, LONG)
    assert reply.ename == "ApprovalRejected"
    assert not (tmp_path / "party.txt").exists()

    kernel.submit(cells["biscuits"])
    wait = waits(kernel, "approval", "biscuits", LONG)
    kernel.kill()
    refused = command(
        kernel, "approve", "biscuits", wait.key, "--arguments", '{"guests": "many"}', fails=True
    )
    assert "guests" in refused
    command(kernel, "approve", "biscuits", wait.key, "--arguments", '{"guests": 3}')
    assert "decided already" in command(kernel, "reject", "biscuits", wait.key, "no", fails=True)

    second = fresh()
    assert second.check(cells["biscuits"], timeout=LONG).stdout == "There will be a shortbread cake for 3.\n"
    assert _happened(tmp_path) == ["cake: shortbread for 3"]

    second.check(cells["seats"].partition("sam(")[0])
    reply = second.submit(cells["seating"])
    waits(second, "ask", "seating", LONG)
    assert "gin" in command(second, "answer", "seating", "1.0", "gin", fails=True)
    command(second, "answer", "seating", "1.0", "Assam")
    end = time.monotonic() + LONG
    while waits(second, "ask", "seating", LONG).step != "1.1":
        assert time.monotonic() < end
    command(second, "answer", "seating", "1.1", '{"table": "kitchen", "chairs": 20}')
    assert second.wait(reply, LONG).check().stdout == "Assam tea in the kitchen, on 20 chairs.\n"

    second.check("garlands = 5\n" + cells["garland"].partition("sam(")[0])
    reply = second.submit(cells["garlands"])
    waits(second, "budget", "garlands", LONG)
    assert [line for line in _happened(tmp_path) if "garland" in line] == [f"garland: {n}" for n in range(3)]
    command(second, "budget", "garlands", "--max-steps", "5")
    assert second.wait(reply, LONG).check().stdout == "5 garlands hang.\n"
