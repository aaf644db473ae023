"""Which modules are the user's own."""

from __future__ import annotations

import sys
from functools import lru_cache


def is_local(module: str) -> bool:
    """Whether a module is the user's own: a source file outside site-packages and the standard library."""
    loaded = sys.modules.get(module)
    path = getattr(loaded, "__file__", None)
    if not module or not path or module.partition(".")[0] == __name__.partition(".")[0]:
        return False
    return path.endswith(".py") and not path.startswith(_installed())


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    import site
    import sysconfig

    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    roots = {*(sysconfig.get_path(k) for k in keys), *site.getsitepackages(), site.getusersitepackages()}
    roots.add(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}))
    return tuple(root.rstrip("/\\") + ("\\" if "\\" in root else "/") for root in roots if root)
