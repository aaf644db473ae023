"""The public surface: names, errors, and the promise that importing costs nothing."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import jupyter_durable as durable
from jupyter_durable import errors


def test_all_is_complete() -> None:
    """Every public name exists and is listed once (the linter keeps the order)."""
    assert len(set(durable.__all__)) == len(durable.__all__)
    assert all(getattr(durable, name) is not None for name in durable.__all__)
    assert dir(durable) == sorted(durable.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Lazy lookup does not swallow typos."""
    with pytest.raises(AttributeError, match="no attribute 'tol'"):
        durable.tol  # noqa: B018


def _errors() -> list[type[BaseException]]:
    found = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, BaseException)
    ]
    return [cls for cls in found if not cls.__name__.startswith("_")]


@pytest.mark.parametrize("cls", _errors(), ids=lambda cls: cls.__name__)
def test_errors_survive_pickling_with_their_hint(cls: type[BaseException]) -> None:
    """Across processes an error keeps its message, its hint and what it knows."""
    error = cls("what happened", hint="what to do")  # type: ignore[call-arg]
    error.extra = [1]  # type: ignore[attr-defined]
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is cls
    assert str(back) == str(error) == "what happened\n  hint: what to do"
    assert vars(back) == vars(error)


def test_control_flow_is_not_an_exception() -> None:
    """`except Exception` in an agent cannot swallow it."""
    assert not issubclass(errors.RunParked, Exception)
    assert not issubclass(errors.LeaseLost, Exception)


def test_importing_the_package_imports_nothing_heavy() -> None:
    """`import jupyter_durable` alone must not pay for the engine, SQLite, pydantic or the kernel."""
    code = (
        "import sys, jupyter_durable; "
        "print([m for m in ('pydantic', 'sqlite3', 'sqlite_utils', 'IPython', 'numpy', 'nbclient', 'tenacity', "
        "'psutil', 'anywidget', 'jupyter_durable.runtime', 'jupyter_durable.session') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
