"""What a durable cell says: single lines, tables, errors without our own frames.

Everything is a MIME bundle of inert HTML (front ends sanitise what is not) and plain text. Names,
arguments and errors come from tools: they are escaped, and a line stays a line.
"""

from __future__ import annotations

import linecache
import re
import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from types import TracebackType
from typing import Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.timeline.view import Plan

Bundle = dict[str, str]

ICONS = {
    "start": "▶",
    "resume": "↻",
    "fork": "↱",
    "completed": "✓",
    "failed": "✗",
    "interrupted": "■",
    "cancelled": "■",
    "waiting": "⏸",
    "notice": "ℹ",
}

_TINTS = {
    "completed": "var(--jp-success-color1,color-mix(in srgb,#388e3c 60%,currentColor))",
    "failed": "var(--jp-error-color1,color-mix(in srgb,#d32f2f 60%,currentColor))",
    "waiting": "var(--jp-warn-color1,color-mix(in srgb,#f57c00 60%,currentColor))",
}
_TEXT_STYLE = "\ufe0e"  # ▶ ⏸ ℹ are emoji where nothing says otherwise

_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-ui-font-size1,13px)"
# No colour of its own: beyond Jupyter the page may be dark.
_LINE = f"{_FONT};opacity:.75;margin:2px 0"
# As far from the left as what the cell prints.
_PAD = "padding-left:var(--jp-code-padding,0)"
_CELL = "text-align:left;padding:2px 12px 2px 0;white-space:pre-wrap;border:none"
_HEAD = f"{_CELL};font-weight:600"
_NARROW = 20  # characters a cell may have that is kept on one line
_WIDTH = 88  # of an error's text; front ends break longer lines inside words
_COMMAND = re.compile(r"(?:%{1,2}|jupyter )durable\b(?: [^\s;,()·`]+){1,4}?(?=[;,()·`]| \(|$)", re.MULTILINE)
_PACKAGE = "jupyter_durable"


def one_line(text: str, limit: int = 2000) -> str:
    """`text` without line breaks, at most `limit` characters."""
    text = mask(" ".join(text.split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def line(text: str, kind: str = "notice") -> Bundle:
    """One line; `kind` is a key of `ICONS`, or a run's status.

    >>> line("research completed: 3 executed", "completed")["text/plain"]
    '✓ research completed: 3 executed'
    """
    text, icon = one_line(text), ICONS.get(kind, ICONS["notice"])
    tint = f' style="color:{_TINTS[kind]}"' if kind in _TINTS else ""
    html = f'<div style="{_LINE};{_PAD}"><span aria-hidden="true"{tint}>{icon}{_TEXT_STYLE}</span> {escape(text)}</div>'
    return {"text/plain": f"{icon} {text}", "text/html": html}


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, before: str = "", after: str = "") -> Bundle:
    """Rows under `head`, with a line before and lines after; every cell is one line.

    >>> print(table(["RUN", "NAME"], [["1", "a"], ["20", "b"]])["text/plain"])
    RUN  NAME
    1    a
    20   b
    """
    cells = [[one_line(cell, 200) for cell in row] for row in rows]
    lines = [list(head), *cells]
    widths = [max(len(row[n]) for row in lines) for n in range(len(head))]
    text = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in lines if cells
    ]
    html = [f'<div style="{_FONT};{_PAD}">']
    if before:
        text.insert(0, before)
        html.append(f'<div style="{_LINE}">{escape(before)}</div>')
    if cells:
        html.append('<table style="border-collapse:collapse"><thead><tr>')
        html += [f'<th scope="col" style="{_HEAD}">{escape(cell)}</th>' for cell in head]
        html.append("</tr></thead><tbody>")
        for row in cells:
            html += [
                "<tr>",
                *(f'<td style="{_CELL}{_nowrap(cell)}">{escape(cell)}</td>' for cell in row),
                "</tr>",
            ]
        html.append("</tbody></table>")
    if after:
        text.append(after)
        html += [f'<div style="{_LINE}">{escape(part)}</div>' for part in after.splitlines() if part]
    html.append("</div>")
    return {"text/plain": "\n".join(text), "text/html": "".join(html)}


def _nowrap(cell: str) -> str:
    return ";white-space:nowrap" if len(cell) <= _NARROW else ""


# -- runs ------------------------------------------------------------------------------------------


def fork_outlook(plan: Plan) -> str:
    """What a fork takes over: how much of it still matches shows only as the code runs."""
    return f"replays what still matches of {plan.replayed} finished step{'s' if plan.replayed != 1 else ''}"


def done(replayed: int, executed: int) -> str:
    """What a process did for a run.

    >>> done(12, 19), done(0, 0)
    ('12 replayed, 19 executed', 'no steps')
    """
    parts = [f"{n} {what}" for n, what in ((replayed, "replayed"), (executed, "executed")) if n]
    return ", ".join(parts) or "no steps"


# -- errors ----------------------------------------------------------------------------------------


def error_lines(error: BaseException, user_ns: dict[str, Any]) -> list[str]:
    """An error of ours as people need it: what, where in their code, what to do. No traceback."""
    message, _, hint = mask(str(error)).partition("\n  hint: ")
    lines = [part for text in f"{type(error).__name__}: {message}".split("\n") for part in _wrapped(text, "")]
    where = _place(error.__traceback__, user_ns)
    if where:
        lines.append(f"  at:   {mask(where)}")
    if hint:
        lines += _wrapped(f"  hint: {hint}", " " * 8)
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    """`text` in lines that fit; one that begins with spaces, a call, stays whole, and so does a command."""
    if text.startswith(" ") and not indent:
        return [text]
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", "\0"), text)
    parts = textwrap.wrap(
        whole, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [part.replace("\0", " ") for part in parts] or [text]


def _place(tb: TracebackType | None, user_ns: dict[str, Any]) -> str:
    found = ""
    while tb is not None:
        frame = tb.tb_frame
        if frame.f_globals is user_ns:
            text = linecache.getline(frame.f_code.co_filename, tb.tb_lineno).strip()
            name = frame.f_code.co_name
            if ".__durable__(" not in text:  # the marker on line 1: there is nothing of the user's to show
                inside = "" if name.startswith("<") else f" in {name}()"
                found = f"line {tb.tb_lineno}{inside}: {text}"
        tb = tb.tb_next
    return found


def hide_frames(error: BaseException) -> None:
    """Take our frames out of the tracebacks of `error` and of the errors it came from, in place.

    What a tool raised passes through the step around it: frames that say nothing to its author.
    """
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        found = queue.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        found.__traceback__ = without_ours(found.__traceback__)
        queue += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            queue += found.exceptions


def without_ours(tb: TracebackType | None) -> TracebackType | None:
    """A traceback without our frames."""
    kept: list[TracebackType] = []
    while tb is not None:
        if str(tb.tb_frame.f_globals.get("__name__", "")).partition(".")[0] != _PACKAGE:
            kept.append(tb)
        tb = tb.tb_next
    rest: TracebackType | None = None
    for part in reversed(kept):
        rest = TracebackType(rest, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return rest
