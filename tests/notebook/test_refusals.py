"""A cell that is refused must not spoil the ones after it, and hints must work when they are typed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kernels import Kernel, KernelDied


@pytest.mark.slow
def test_a_misplaced_line_is_refused_once(kernel: Kernel) -> None:
    """`%%durable` below other code is an error of that cell only."""
    kernel.check("%load_ext jupyter_durable")
    refused = kernel.run("x = 1\n%%durable c")
    assert "line 1" in refused.evalue
    assert kernel.check("%%durable d\n1 + 1", allow_stdin=True).result == "2"


@pytest.mark.slow
def test_the_commands_in_the_notice_of_a_step_in_doubt_work(
    make_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    """The line that a waiting cell shows is typed in a terminal as it stands, and the cell goes on."""
    cell = (
        "%%durable mail --store other.db\n"
        "import jupyter_durable as durable\n"
        "@durable.tool(effect='unsafe')\n"
        "def send():\n"
        "    open('sent', 'a').write('x')\n"
        "    return 'sent'\n"
        "send()"
    )
    kernel = make_kernel(tmp_path, env={"JUPYTER_DURABLE_CRASH_AT": "after-call"})
    kernel.check("%load_ext jupyter_durable")
    with pytest.raises(KernelDied):
        kernel.run(cell, allow_stdin=True)
    kernel = make_kernel(tmp_path)
    kernel.check("%load_ext jupyter_durable")
    reply = kernel.submit(cell, allow_stdin=True)

    def shown() -> str:
        return "\n".join(display["data"]["text/plain"] for display in reply.displays)

    kernel._pump(lambda: "jupyter durable supply" in shown(), reply, 30)
    command = re.search(r"jupyter durable (supply \S+ \S+ VALUE.*)", shown())
    assert command is not None
    words = command[1].replace("VALUE", "'by-hand'").split()
    subprocess.run(
        [sys.executable, "-m", "jupyter_durable.cli", *words], cwd=tmp_path, env=kernel.env, check=True
    )
    assert kernel.wait(reply).check().result in ("'by-hand'", "\"'by-hand'\"")
    assert (tmp_path / "sent").read_text() == "x"
    assert "it happened, with the result given" in shown()
