"""A page as a MIME bundle that means something everywhere: our type, inert HTML, text.

The HTML has no script, no style sheet and no attribute that a sanitiser takes away: it is what is seen in a front
end without our extension, after a restart, in nbconvert's output and on code hosts. At most `MOST` bytes.
"""

from __future__ import annotations

import json
import time
from html import escape
from typing import Any

from jupyter_durable.journal.budget import money
from jupyter_durable.timeline.rows import MIME, Page, Row, RunHead

MOST = 50_000
"""Bytes of a bundle."""
EXCERPT = 60
"""Rows of one."""

STATES = {
    "running": ("▶", "running"),
    "waiting": ("‖", "waiting"),
    "in_doubt": ("?", "in doubt"),
    "completed": ("✓", "completed"),
    "failed": ("✗", "failed"),
    "cancelled": ("■", "cancelled"),
    "interrupted": ("■", "interrupted"),
}
"""Icon and word of every state of steps and runs."""

# Beyond Jupyter the page may be dark, and nothing says so but the colour that its text has.
_TINTS = {
    "running": "var(--jp-brand-color1,color-mix(in srgb,#1976d2 60%,currentColor))",
    "waiting": "var(--jp-warn-color0,color-mix(in srgb,#b45309 60%,currentColor))",
    "in_doubt": "var(--jp-warn-color0,color-mix(in srgb,#b45309 60%,currentColor))",
    "completed": "var(--jp-success-color0,color-mix(in srgb,#2e7d32 60%,currentColor))",
    "failed": "var(--jp-error-color1,color-mix(in srgb,#c62828 60%,currentColor))",
}
_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-ui-font-size1,13px)"
_QUIET = "opacity:.75"
_PAD = "padding-left:var(--jp-code-padding,0)"
_CELL = "text-align:left;vertical-align:top;padding:1px 12px 1px 0;border:none"
_CODE = "font-family:monospace"
_BRIEF = 60  # characters of a line that has room beside others
_TEXT_STYLE = "\ufe0e"  # ▶ is an emoji where nothing says otherwise


def bundle(page: Page, text: str, *, most: int = MOST) -> dict[str, Any]:
    """`page` in all three forms; `text` is its text/plain. Rows are left out, oldest first, until it fits."""
    rows = list(page["rows"])
    while True:
        left = page.get("left_out", 0) + len(page["rows"]) - len(rows)
        shown: Page = {**page, "rows": rows}
        if left:
            shown["left_out"] = left
        html = to_html(shown)
        if not rows or len(html.encode()) + len(json.dumps(shown)) + len(text.encode()) <= most:
            return {MIME: shown, "text/html": html, "text/plain": text}
        rows = rows[len(rows) // 4 + 1 :]


def summary(run: RunHead) -> str:
    """What is to be said of a run in one line, its name and status apart.

    >>> summary({"counts": {"completed": 3, "replayed": 1, "failed": 1}, "cost": 0.5, "saved": 0.0,
    ...     "sessions": [(0.0, 62.0)], "steps": 4, "now": 99.0, "tokens": [0, 0, 0]})
    '4 steps: 3 completed (1 replayed), 1 failed · 1 min 2 s · $0.50'
    """
    counts: dict[str, Any] = dict(run["counts"])
    parts = []
    for state in ("completed", "running", "waiting", "in_doubt", "failed", "cancelled"):
        if counts.get(state):
            again = (
                f" ({counts['replayed']} replayed)" if state == "completed" and counts.get("replayed") else ""
            )
            parts.append(f"{counts[state]} {STATES[state][1]}{again}")
    total = run["steps"]
    said = [f"{total} step{'s' if total != 1 else ''}" + (f": {', '.join(parts)}" if parts else "")]
    said.append(span(elapsed(run)))
    if run["cost"]:
        said.append(money(run["cost"]))
    if run["saved"]:
        said.append(f"{money(run['saved'])} saved by replay")
    if run.get("status") in (
        "running",
        "waiting",
    ):  # the picture may be older than whoever looks at it thinks
        said.append(f"as of {time.strftime('%H:%M:%S', time.localtime(run['now']))}")
    return " · ".join(said)


def elapsed(run: RunHead) -> float:
    """Seconds in which a process advanced the run."""
    return sum(max(0.0, (end if end is not None else run["now"]) - start) for start, end in run["sessions"])


def span(seconds: float) -> str:
    """A duration for people.

    >>> [span(s) for s in (0.0004, 0.25, 3.14159, 75, 7322, 200_000)]
    ['0.4 ms', '250 ms', '3.1 s', '1 min 15 s', '2 h 2 min', '2 d 7 h']
    """
    if seconds < 0.001:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for unit, size, name, below in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{seconds:.1f} s"


def to_html(page: Page) -> str:
    """The page as inert HTML."""
    run = page["run"]
    icon, word = STATES[run["status"]]
    line = run.get("line", "")
    # What the cell said begins with the name, and maybe with the status, that stand there already.
    for start in (f"{run['name']} {word}: ", f"{run['name']}: "):
        if line.startswith(start):
            line = line[len(start) :]
            break
    brief = len(line) <= _BRIEF
    head = (
        f'<div style="{_FONT};{_PAD};margin:2px 0"><span aria-hidden="true" style="color:{_tint(run["status"])}">'
        f'{icon}{_TEXT_STYLE}</span> <b>{escape(run["name"])}</b> {word}{f": {escape(line)}" if line and brief else ""} <span style="{_QUIET}">· {escape(summary(run))}</span>'
    )
    lines = [head]
    if line and not brief:
        lines.append(f'<div style="{_QUIET}">{escape(line)}</div>')
    pause = '<span aria-hidden="true">‖</span>'
    lines += [f"<div>{pause} {escape(wait['prompt'])}</div>" for wait in page["waits"]]
    if run.get("error"):
        lines.append(f'<div style="color:{_tint("failed")}">{escape(run["error"])}</div>')
    if page["rows"]:
        lines.append(_table(page))
    lines.append("</div>")
    return "".join(lines)


def _tint(status: str) -> str:
    return _TINTS.get(status, "inherit")


def _table(page: Page) -> str:
    rows, left = page["rows"], page.get("left_out", 0)
    says = (
        f"the last {len(rows)} of {left + len(rows)} steps"
        if left
        else f"{len(rows)} step{'s' if len(rows) != 1 else ''}"
    )
    parts = [
        f'<details><summary style="{_QUIET};cursor:pointer">{says}</summary>',
        '<table style="border-collapse:collapse"><thead><tr>',
        *(f'<th scope="col" style="{_CELL};font-weight:600">{name}</th>' for name in _HEAD),
        "</tr></thead><tbody>",
        *map(_row, rows),
        "</tbody></table></details>",
    ]
    return "".join(parts)


_HEAD = ("Step", "State", "Call", "Time", "Result")


def _row(row: Row) -> str:
    icon, word = STATES[row["status"]]
    notes = [word]
    if row.get("replays"):
        notes.append("replayed")
    if row.get("attempts", 1) > 1:
        notes.append(f"attempt {row['attempts']}")
    if row.get("old"):
        notes.append("history")
    state = f'<span aria-hidden="true" style="color:{_tint(row["status"])}">{icon}{_TEXT_STYLE}</span> {", ".join(notes)}'
    cells = (
        (escape(row["id"]), ""),
        (state, ";white-space:nowrap"),
        (escape(row.get("call") or row["name"]), f";{_CODE};overflow-wrap:anywhere"),
        (span(row["took"]) if "took" in row else "", ";white-space:nowrap"),
        (escape(row.get("says") or row.get("text", "")[-160:]), f";{_CODE};overflow-wrap:anywhere"),
    )
    return "<tr>" + "".join(f'<td style="{_CELL}{style}">{cell}</td>' for cell, style in cells) + "</tr>"
