"""The tutorial of going back in time, run as a user would: what its cells say is made again is, and nothing else."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest

from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import run_job
from jupyter_durable.session import open_store
from jupyter_durable.testing import ProviderProcess

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_time_travel.ipynb"


def cell(nb: Any, name: str) -> Any:
    """The cell of that id."""
    return next(c for c in nb.cells if c.id == name)


def shown(nb: Any, name: str) -> str:
    """All that a cell of that id said."""
    parts = []
    for output in cell(nb, name).outputs:
        data = output.get("data", {}).get("text/plain", "")
        parts.append(output.get("text", "") or data or output.get("evalue", ""))
    return "\n".join(parts)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openai") is None, reason="needs the extra: pip install '.[agents]'")
def test_each_way_back_makes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted outside: the lines its tools write, and the requests that a provider in another process answered."""
    path = Path(shutil.copy(NOTEBOOK, tmp_path))
    nb = nbformat.read(path, as_version=4)
    source = cell(nb, "model").source
    script = tmp_path / "script.py"
    script.write_text(
        "import re\nfrom jupyter_durable.testing import reply\n"
        + source[: source.index("if not os.environ")]
        + "\nscript = scripted\n"
    )
    with ProviderProcess(script) as provider:
        for name, value in provider.environment.items():
            monkeypatch.setenv(name, value)
        report = run_job(open_job(path, store=str(tmp_path / "journal.db")))
        hits = provider.hits

    assert report.status == "completed", f"cell {report.cell}: {report.error}"
    done = nbformat.read(report.output, as_version=4)
    made = [json.loads(line) for line in (tmp_path / "party-calls.jsonl").read_text().splitlines()]
    assert [line.partition("!")[0] for line in made] == [
        "count_guests office",
        "order 200 margherita",
        "announce Party on Friday",
        "order 20 margherita",
        "announce Party on Friday",
        "order 20 quattro stagioni",
        "announce Party on Friday",
        "order 20 margherita",
        "announce Party on Friday",
        "address Ann",
        "deliver",
    ]
    assert hits == 2 + 2 + 1 + 1
    assert "guests: 400   pizzas: 200   ordered already: False" in shown(done, "goto-look")
    assert "20 x margherita are on their way" in shown(done, "fork-result")
    assert "count_guests with another result" in shown(done, "fork-result")
    difference = shown(done, "diff")
    assert "first differs at step 1.0 count_guests" in difference
    assert "-400\n    +40" in difference
    assert "-user: How many pizzas do 400 guests eat? Answer with a number." in difference
    assert "+assistant: 20" in difference
    assert "20 x quattro stagioni" in shown(done, "fork-arguments")
    plan = shown(done, "plan")
    assert "2 steps replayed; " in plan
    assert "(order, " in plan
    assert "invalid literal for int" in shown(done, "debug-look")
    assert "Main St., 3 stairs, 1 door" in shown(done, "proof")
    with open_store(tmp_path / "journal.db") as store:
        assert [run.status for run in store.runs(name="party")] == ["completed"] * 4
        assert [run.status for run in store.runs(name="delivery")] == ["completed", "failed"]
        assert store.verify() == []


def test_the_notebook_is_clean() -> None:
    """It is committed without outputs, with readable cell ids, for any Python 3 kernel."""
    nb = nbformat.read(NOTEBOOK, as_version=4)

    nbformat.validate(nb)
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in nb.cells)
    assert nb.metadata.kernelspec.name == "python3"
