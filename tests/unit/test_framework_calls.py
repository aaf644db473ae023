"""What the instruments of frameworks share: patches that come out without a trace, whatever is imported when."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import pytest

from jupyter_durable.capture.calls import Attributes, belongs_to
from jupyter_durable.journal.keys import leave_out, name_strands

# Everything that is in the modules and their classes when the run has ended, and is or holds a function of ours.
LEFT = """
import sys
import jupyter_durable as durable

with durable.run("first import", store="memory:"):
    import {imports}

left = []
for name, module in list(sys.modules.items()):
    if name.partition(".")[0] in {roots}:
        for key, value in list(vars(module).items()):
            owners = [(key, value)]
            if isinstance(value, type):
                owners += [(f"{{key}}.{{k}}", v) for k, v in list(vars(value).items())]
            functions = [(k, v) for k, v in owners if type(v).__name__ == "function"]
            left += [f"{{name}}.{{k}}" for k, v in functions if "__jupyter_durable_before__" in vars(v)]
print(sorted(set(left)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("imports", "roots"),
    [
        ("langgraph.prebuilt, langgraph.checkpoint.memory", ("langchain_core", "langgraph")),
        ("pydantic_ai", ("pydantic_ai",)),
        ("agents", ("agents",)),
        ("smolagents", ("smolagents",)),
    ],
)
def test_what_a_run_imports_first_is_as_it_was_when_the_run_has_ended(
    imports: str, roots: tuple[str, ...]
) -> None:
    """Also where a module has imported by name, during the run, what was patched."""
    if importlib.util.find_spec(roots[-1]) is None:
        pytest.skip(f"{roots[-1]} is not installed")
    script = LEFT.format(imports=imports, roots=roots)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n", done.stdout


def test_a_name_of_what_is_patched_is_not_patched_twice_and_is_put_back() -> None:
    """The second module has imported the patched function: it is to have the original afterwards."""

    def original() -> int:
        return 1

    def twice(before: object) -> object:
        def patched() -> int:
            return 2 * before()  # type: ignore[operator,no-any-return]

        return patched

    first = SimpleNamespace(f=original)
    patches = Attributes()
    patches.put(first, "f", twice)
    second = SimpleNamespace(f=first.f)
    later = Attributes()
    later.put(second, "f", twice)
    assert (first.f(), second.f()) == (2, 2)
    patches.undo()
    later.undo()
    assert first.f is original
    assert second.f is original


def test_a_patch_over_ours_is_left_alone() -> None:
    """Somebody else's patch of the same thing is theirs to take out."""
    module = SimpleNamespace(f=len)
    patches = Attributes()
    patches.put(module, "f", lambda before: lambda value: before(value))
    module.f = theirs = str
    patches.undo()
    assert module.f is theirs


def test_strands_are_keyed_by_what_tells_them_apart() -> None:
    """Contexts are left out; a library's own spawners are keyed as their instrument says."""
    from jupyter_durable.codec.canonical import Canonical
    from jupyter_durable.journal.keys import callable_key

    canonical = Canonical(b"k" * 32)

    def run(task: object, config: object = None) -> None:
        pass

    name = f"{run.__module__}:{run.__qualname__}"
    one = callable_key(canonical, run, ("a", {"id": 1}), {})
    assert one != callable_key(canonical, run, ("a", {"id": 2}), {})
    forget = leave_out(lambda value: isinstance(value, dict))
    assert callable_key(canonical, run, ("a", {"id": 1}), {}) == callable_key(
        canonical, run, ("a", {"id": 2}), {}
    )
    assert callable_key(canonical, run, ("a", {}), {}) != callable_key(canonical, run, ("b", {}), {})
    forget()
    forget = name_strands(name, lambda task, config=None: task)
    assert callable_key(canonical, run, ("a", {"id": 1}), {}) == callable_key(
        canonical, run, ("a", {"id": 2}), {}
    )
    forget()
    assert callable_key(canonical, run, ("a", {"id": 1}), {}) == one


def test_values_of_a_package() -> None:
    """Its classes, those derived from them, its functions, lists of them; and nothing else."""
    from decimal import Decimal

    class Mine(Decimal):
        pass

    belongs = belongs_to("decimal")
    assert belongs(Decimal(1))
    assert belongs(Mine(1))
    assert belongs([Decimal(1)])
    assert not belongs([])
    assert not belongs("decimal")
    assert belongs_to("subprocess")(subprocess.run)
