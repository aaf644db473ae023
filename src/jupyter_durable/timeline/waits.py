"""What can be said about a wait, as lines to copy."""

from __future__ import annotations

from jupyter_durable.model import WaitInfo


def ways(wait: WaitInfo, command: str, run: str) -> list[str]:
    """The commands that end a wait. `command` is "%durable" or "jupyter durable", `run` how it is named there.

    >>> wait = WaitInfo("r", "r", "ask:1.0:0", "ask", "1.0", "ask", "Which?", "your answer to: Which?", ("answer",), 0.0)
    >>> ways(wait, "%durable", "r")
    ['step 1.0 waits for your answer to: Which?', '  %durable answer r 1.0 VALUE']
    """
    at = f"{run} {wait.step}"
    lines = {
        "approval": [f"approve {at}", f"reject {at} WHY"],
        "ask": [f"answer {at} VALUE"],
        "signal": [f"signal {run} {wait.name} VALUE"],
        "budget": [f"budget {run} {'--deadline TIME' if 'deadline' in wait.prompt else 'AMOUNT'}"],
    }.get(wait.kind)
    if lines is None:
        return []
    if wait.kind == "approval" and wait.editable:
        lines.insert(1, f"approve {at} --arguments JSON")
    head = f"step {wait.step} waits for {wait.what}" if wait.step is not None else f"the run {wait.what}"
    return [head, *(f"  {command} {line}" for line in lines)]
