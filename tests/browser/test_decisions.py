"""People in the loop, by real clicks in a real JupyterLab: what they decide reaches the cell that waits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from pages import Lab, shot

SETUP = """%load_ext jupyter_durable
import jupyter_durable as durable

@durable.tool(approval=True)
async def mail(to: str, copies: int = 1) -> str:
    return f"mailed {to} x{copies}"

@durable.tool(approval=True)
def pay(amount: int) -> str:
    return f"paid {amount}"
"""


@pytest.mark.parametrize(
    ("clicks", "says"),
    [
        (["Approve"], "'mailed ada@example.org x1'"),
        (["Reject…", "Reject"], "ApprovalRejected"),
        (["Edit arguments…", "Approve with these"], "'mailed ada@example.org x3'"),
    ],
)
def test_a_click_reaches_a_waiting_async_cell(
    notebook: Callable[..., Any], clicks: list[str], says: str
) -> None:
    """Approve, reject with a reason, approve with other arguments."""
    name = f"async-{len(says)}"
    nb = notebook(
        f"{name}.ipynb",
        SETUP,
        f"%%durable {name}\ndisplay(durable.timeline('{name}'))\nawait mail('ada@example.org')",
    )
    nb.run(0)
    nb.run(1, wait=False)
    area = nb.output(1)
    card = area.locator(".wait.approval")
    card.get_by_text("your approval of mail").wait_for(timeout=30_000)
    for click in clicks:
        card.get_by_role("button", name=click, exact=True).click()
        if click == "Edit arguments…":
            card.get_by_label("copies").fill("3")
        elif click == "Reject…":
            card.locator("input").fill("not to her")
    shown = ".jp-RenderedText pre" if says == "ApprovalRejected" else ".jp-OutputArea-executeResult"
    area.locator(shown, has_text=says).first.wait_for(timeout=20_000)
    if says == "ApprovalRejected":
        area.get_by_text("not to her").first.wait_for()
    area.locator(".wait").first.wait_for(state="detached")
    shot(nb.page, f"lab-approval-{clicks[0].rstrip('…').lower().replace(' ', '-')}")


def test_a_blocked_kernel_is_said_and_a_terminal_decides(notebook: Callable[..., Any], lab: Lab) -> None:
    """A sync cell that waits may keep the click from reaching the kernel: the command that does it is there to copy."""
    nb = notebook("sync.ipynb", SETUP, "%%durable sync\ndisplay(durable.timeline('sync'))\npay(10)")
    nb.run(0)
    nb.run(1, wait=False)
    area = nb.output(1)
    card = area.locator(".wait.approval")
    card.get_by_text("your approval of pay").wait_for(timeout=30_000)
    card.get_by_role("button", name="Approve", exact=True).click()
    busy = card.locator(".result code")
    done = area.locator(".jp-OutputArea-executeResult", has_text="'paid 10'")
    busy.or_(done).first.wait_for(timeout=20_000)
    if busy.is_visible():
        shot(nb.page, "lab-busy")
        command = busy.inner_text().split()
        assert command[:3] == ["jupyter", "durable", "approve"]
        subprocess.run(
            [sys.executable, "-m", "jupyter_durable.cli", *command[2:]], env=lab.env, check=True, timeout=60
        )
    done.wait_for(timeout=20_000)


def test_a_question_has_a_form(notebook: Callable[..., Any]) -> None:
    """`durable.ask` renders its type, and the answer comes back as one."""
    nb = notebook(
        "ask.ipynb",
        SETUP,
        "%%durable ask\nfrom typing import Literal\ndisplay(durable.timeline('ask'))\n"
        "await durable.ask('Which one?', Literal['leases', 'sagas'])",
    )
    nb.run(0)
    nb.run(1, wait=False)
    area = nb.output(1)
    area.get_by_text("Which one?").first.wait_for(timeout=30_000)
    area.locator(".wait select").select_option(label="sagas")
    area.locator(".wait .more-form button").click()
    area.locator(".jp-OutputArea-executeResult", has_text="'sagas'").wait_for(timeout=20_000)
