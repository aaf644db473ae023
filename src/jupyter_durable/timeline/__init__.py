"""What people see of runs.

rows      the vocabulary of the timeline, as JSON data with a schema
feed      journal -> rows, followed: only what is new is folded and told (folding: what it keeps)
inert     stored values as people may look at them: nothing imported, unpickled or called
values    one of them in full, in pages
bundle    rows as a MIME bundle: our type, inert HTML, text
widget    the live timeline; timeline.js draws it, here and in the Lab extension (built from jupyter_extension/timeline)
view      journal -> steps, plans, counts: for `store.steps()`, the command line and `%durable`
costs     what was spent, in words

The package is also what `durable.timeline(run)` calls: a package and a function of one name are one attribute.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any


class _Timeline(types.ModuleType):
    def __call__(self, run: str | None = None, *, store: Any = None) -> Any:
        """See `session.watching.timeline`."""
        # By name: this layer knows nothing of the one that puts stores and timelines together.
        return importlib.import_module("jupyter_durable.session.watching").timeline(run, store=store)


sys.modules[__name__].__class__ = _Timeline
