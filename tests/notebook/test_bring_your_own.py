"""The tour of frameworks, run as a user would: its kernel dies in the fifth of them, and nothing is asked twice."""

from __future__ import annotations

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest

from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import run_job
from jupyter_durable.testing import ProviderProcess

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "02_bring_your_own_agent.ipynb"
AGENTS = ("openai", "anthropic", "pydantic", "langgraph", "agents", "mcp")
NEEDED = ("openai", "anthropic", "pydantic_ai", "langchain", "langchain_openai", "agents", "mcp")


def cell(nb: Any, name: str) -> Any:
    """The cell of that id."""
    return next(c for c in nb.cells if c.id == name)


@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED), reason="needs the extra: pip install '.[agents]'"
)
def test_every_agent_answers_and_no_call_is_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted outside: the lines its tools write, and the requests that a provider in another process answered."""
    path = Path(shutil.copy(NOTEBOOK, tmp_path))
    nb = nbformat.read(path, as_version=4)
    source = cell(nb, "model").source
    script = tmp_path / "script.py"
    script.write_text(
        "import re\nfrom jupyter_durable.testing import call, reply\n"
        + source[: source.index("if not (os.environ")]
        + "\nscript = scripted\n"
    )

    with ProviderProcess(script) as provider:
        for name, value in provider.environment.items():
            monkeypatch.setenv(name, value)
        report = run_job(open_job(path, store=str(tmp_path / "journal.db")))
        hits = provider.hits

    assert report.status == "completed", f"cell {report.cell}: {report.error}"
    assert report.restarts == 1
    done = nbformat.read(report.output, as_version=4)
    for name in AGENTS:
        text = "".join(o.text for o in cell(done, name).outputs if o.output_type == "stream")
        assert text.startswith("The reference says: "), name
    assert hits == 7 * 3  # seven questions, three turns each
    lines = [json.loads(line)["call"].split()[0] for line in (tmp_path / "agents-calls.jsonl").open()]
    assert sorted(lines) == ["power", *["read"] * 6, *["search"] * 6]
    proof = "".join(o.text for o in cell(done, "proof").outputs)
    assert len(re.findall(r"^kernel \d+ made", proof, re.MULTILINE)) == 2


def test_the_notebook_is_clean() -> None:
    """It is committed without outputs, with readable cell ids, for any Python 3 kernel."""
    nb = nbformat.read(NOTEBOOK, as_version=4)

    nbformat.validate(nb)
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in nb.cells)
    assert nb.metadata.kernelspec.name == "python3"
    for name in AGENTS:
        assert cell(nb, name).source.startswith("%%durable ")
