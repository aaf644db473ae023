"""Classes and functions by name: `module:qualified.name`, and back."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from jupyter_durable.errors import EncodingError

Namespace = Callable[[], Mapping[str, Any]]


def main_namespace() -> Mapping[str, Any]:
    """Where the notebook's own definitions are."""
    return vars(sys.modules["__main__"])


def _find(module: str, qualname: str, namespace: Namespace, *, load: bool) -> Any:
    first, *rest = qualname.split(".")
    if module == "__main__":
        found = namespace()[first]
    else:
        owner = sys.modules.get(module)
        if owner is None:
            if not load:
                raise KeyError(module)
            owner = importlib.import_module(module)
        found = getattr(owner, first)
    for name in rest:
        found = getattr(found, name)
    return found


def name_of(value: Any, namespace: Namespace) -> str | None:
    """The name that leads back to `value`, a class or function; None if none does.

    A class of the notebook whose cell was executed again is found by its name all the same: what
    replays is the new definition, in this kernel as in a fresh one.
    """
    module = getattr(value, "__module__", None)
    qualname = getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or "<" in qualname or not qualname:
        return None
    try:
        found = _find(module, qualname, namespace, load=False)
    except (KeyError, AttributeError):
        return None
    if found is value:
        return f"{module}:{qualname}"
    renewed = (
        module == "__main__"
        and type(found) is type(value)
        and (found.__module__, found.__qualname__) == (module, qualname)
    )
    return f"{module}:{qualname}" if renewed else None


def named(name: str, namespace: Namespace) -> Any:
    """What `name` leads to. Raises `EncodingError` if it leads nowhere any more."""
    module, _, qualname = name.partition(":")
    try:
        return _find(module, qualname, namespace, load=True)
    except Exception as error:
        where = "the notebook" if module == "__main__" else f"module {module!r}"
        hint = (
            f"run the cell that defines {qualname.split('.')[0]}, then resume"
            if module == "__main__"
            else f"install or restore the version of {module.split('.')[0]} that has it, then resume"
        )
        raise EncodingError(
            f"a stored value needs {qualname!r}, which {where} does not have", hint=hint
        ) from error
