"""Where a cell runs: its notebook, whether somebody is watching, and what to call this kernel."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOTEBOOK_VARIABLE = "JUPYTER_DURABLE_NOTEBOOK"
JOB_VARIABLE = "JUPYTER_DURABLE_JOB"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cell runs.

    `notebook` is an absolute path, or None if nothing tells it. `cell_id` is what the front end sent;
    `has_cell_id` says whether that is the notebook's own id of the cell (VS Code sends a document URI,
    which changes when the file moves). `interactive` is False where nobody can answer: our runner,
    nbclient, papermill, cron. `job_id` is set in a job of our runner. `label` names the kernel for
    people ("Jupyter kernel for research.ipynb").
    """

    notebook: str | None
    cell_id: str | None
    interactive: bool
    job_id: str | None
    label: str

    @property
    def has_cell_id(self) -> bool:
        """Whether `cell_id` is an id of nbformat's form (1 to 64 letters, digits, `-`, `_`)."""
        return self.cell_id is not None and re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", self.cell_id) is not None


def where(shell: Any, cell_id: str | None = None, *, environ: Mapping[str, str] | None = None) -> Place:
    """Find out where `shell` (or a script, if None) runs; `environ` defaults to the process's.

    A kernel that a notebook's own cell started (`!jupyter nbconvert --execute other.ipynb`) inherits
    that notebook's `JPY_SESSION_NAME`: it is not believed there.
    """
    environ = os.environ if environ is None else environ
    job = environ.get(JOB_VARIABLE) or None
    ours = environ.get(NOTEBOOK_VARIABLE) or None
    session = _session(environ) if ours is None and job is None else None
    namespace: Mapping[str, Any] = getattr(shell, "user_ns", None) or {}
    code = _text(namespace.get("__vsc_ipynb_file__"))
    papermill = _text(namespace.get("PAPERMILL_INPUT_PATH")) or _text(namespace.get("PAPERMILL_OUTPUT_PATH"))
    notebook = ours or session or code or papermill
    if ours or job:
        kind = f"job {job[:8]}" if job else "notebook runner"
    elif session:
        kind = "Jupyter kernel"
    elif code:
        kind = "VS Code kernel"
    elif papermill:
        kind = "papermill kernel"
    elif hasattr(shell, "kernel"):
        kind = "Jupyter kernel"
    else:
        kind = "IPython" if shell is not None else Path(sys.argv[0]).name or "Python"
    return Place(
        notebook=None if notebook is None else str(Path(notebook).absolute()),
        cell_id=cell_id,
        interactive=not (ours or job) and (session is not None or _can_ask(shell)),
        job_id=job,
        label=f"{kind} for {Path(notebook).name}" if notebook else kind,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _session(environ: Mapping[str, str]) -> str | None:
    name = environ.get("JPY_SESSION_NAME")
    if not name or name == _parent_session():
        return None
    # Collaborative sessions put the name of their drive before the file's.
    return re.sub(r"(^|/)RTC:", r"\1", name)


def _parent_session() -> str | None:
    import psutil

    try:
        return psutil.Process(os.getppid()).environ().get("JPY_SESSION_NAME")  # type: ignore[no-any-return]
    except (psutil.Error, OSError):
        return None


def _can_ask(shell: Any) -> bool:
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return sys.stdin is not None and sys.stdin.isatty()
    try:
        return bool(kernel.get_parent("shell")["content"].get("allow_stdin", False))
    except (KeyError, AttributeError, LookupError):
        return False
