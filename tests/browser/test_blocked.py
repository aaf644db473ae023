"""A click reaches a cell that keeps its kernel from hearing anything, whatever its ipykernel."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import Lab, Notebook, shot

PYTHONS = [
    sys.executable,
    *filter(None, os.environ.get("JUPYTER_DURABLE_TEST_PYTHONS", "").split(os.pathsep)),
]

SETUP = """%load_ext jupyter_durable
import jupyter_durable as durable

@durable.tool(approval=True)
def pay(amount: int, to: str = "ada") -> str:
    with open("paid-{name}", "a") as file:
        file.write(f"{amount} {to}\\n")
    return f"paid {amount} to {to}"

@durable.tool(approval=True)
async def mail(to: str) -> str:
    return f"mailed {to}"
"""


def kernelspec(lab: Lab, python: str) -> str:
    """The name of a kernel in Lab that is that Python's."""
    if python == sys.executable:
        return "python3"
    name = Path(python).parent.parent.name
    folder = Path(lab.env["JUPYTER_DATA_DIR"]) / "kernels" / name
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name,
        "language": "python",
    }
    (folder / "kernel.json").write_text(json.dumps(spec))
    return name


@pytest.mark.kernels
@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: Path(path).parent.parent.name)
@pytest.mark.parametrize("strand", ["sync", "async"])
def test_clicks_reach_a_waiting_cell(chromium: Any, extended: Lab, python: str, strand: str) -> None:
    """Approved, rejected with a reason, approved with other arguments; each is done once, as it was decided."""
    kernel = kernelspec(extended, python)
    name = f"blocked-{strand}-{kernel}"
    if strand == "sync":
        call, clicked, other = "pay(10)", "'paid 10 to ada'", "'paid 10 to bob'"
    else:
        call, clicked, other = "await mail('ada')", "'mailed ada'", "'mailed bob'"
    cells = [f"%%durable {name}-{n}\n{call}" for n in range(3)]
    url = extended.notebook(f"{name}.ipynb", SETUP.replace("{name}", name), *cells, kernel=kernel)
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    try:
        page = context.new_page()
        page.goto(url)
        nb = Notebook(page, extended)
        nb.connected()
        nb.run(0)
        for n, says in enumerate((clicked, "not to her", other)):
            nb.run(n + 1, wait=False)
            area = nb.output(n + 1)
            card = area.locator(".wait.approval")
            card.wait_for(timeout=60_000)
            if n == 0:
                card.get_by_role("button", name="Approve", exact=True).click()
            elif n == 1:
                card.get_by_role("button", name="Reject…", exact=True).click()
                card.locator("input").fill("not to her")
                card.get_by_role("button", name="Reject", exact=True).click()
            else:
                card.get_by_role("button", name="Edit arguments…", exact=True).click()
                card.get_by_label("to").fill("bob")
                card.get_by_role("button", name="Approve with these", exact=True).click()
            area.get_by_text(says).first.wait_for(timeout=60_000)
            nb.connected()  # and idle
        shot(page, name)
    finally:
        context.close()
    if strand == "sync":
        assert (extended.work / f"paid-{name}").read_text() == "10 ada\n10 bob\n"
