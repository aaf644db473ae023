"""Which modules are the user's own, and whether one that is not is being imported."""

from __future__ import annotations

import importlib._bootstrap as _bootstrap
import sys
from functools import lru_cache
from types import FrameType
from typing import Any

# The locks of the modules that are being imported now, in whichever thread. Nearly always there are none, and to look at
# the stack takes 10 µs.
_being_imported: dict[str, Any] | None = getattr(_bootstrap, "_module_locks", None)


def is_local(module: str) -> bool:
    """Whether a module is the user's own: a source file outside site-packages and the standard library."""
    loaded = sys.modules.get(module)
    path = getattr(loaded, "__file__", None)
    if not module or not path or module.partition(".")[0] == __name__.partition(".")[0]:
        return False
    return path.endswith(".py") and not path.startswith(_installed())


def is_importing() -> bool:
    """Whether an installed module is being imported here: what it does then, it does once a process and not once a run."""
    if _being_imported is not None and not _being_imported:
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code, importer = frame.f_code, frame.f_back
        if (
            code.co_name == "<module>"
            and importer is not None
            and importer.f_code.co_filename == "<frozen importlib._bootstrap>"
            and code.co_filename.startswith(_installed())
        ):
            return True
        frame = importer
    return False


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    import site
    import sysconfig

    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    roots = {*(sysconfig.get_path(k) for k in keys), *site.getsitepackages(), site.getusersitepackages()}
    roots.add(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}))
    return tuple(root.rstrip("/\\") + ("\\" if "\\" in root else "/") for root in roots if root)
