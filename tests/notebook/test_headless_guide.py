"""The headless notebook and the guide in the README, executed: cron's line, systemd's units, CI's steps."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import run_job
from jupyter_durable.session import open_store

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "README.md").read_text().partition("### Headless\n")[2].partition("\n### ")[0]

AGENT = "%%durable report\ndurable.step('work', lambda: 1)\n(durable.wait_for('go') if wait else 0)"


def blocks(language: str) -> list[str]:
    """The guide's blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder as the guide has it: `agents/report.ipynb`, and a venv whose commands are those of this one."""
    agents = tmp_path / "agents"
    agents.mkdir()
    cells = [
        new_code_cell("wait = False; day = ''", id="p", metadata={"tags": ["parameters"]}),
        new_code_cell("%load_ext jupyter_durable\nimport jupyter_durable as durable", id="l"),
        new_code_cell(AGENT, id="a"),
    ]
    nbformat.write(new_notebook(cells=cells), agents / "report.ipynb")
    (agents / ".venv").mkdir()
    (agents / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    return tmp_path


def shell(home: Path, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it as cron does: `sh`, and next to nothing in the environment."""
    clean = {"HOME": str(home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", **env}
    return subprocess.run(
        ["/bin/sh", "-ec", script], env=clean, cwd=home, capture_output=True, text=True, timeout=200
    )


@pytest.mark.slow
def test_the_headless_notebook_runs_as_it_says(tmp_path: Path) -> None:
    """Through our own runner: what waits says so, what was approved goes on, and the queue ends."""
    shutil.copy(ROOT / "notebooks" / "05_headless.ipynb", tmp_path / "nb.ipynb")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    previous = os.environ["PATH"]
    os.environ["PATH"] = path
    try:
        report = run_job(open_job(tmp_path / "nb.ipynb", store=str(tmp_path / "journal.db")))
    finally:
        os.environ["PATH"] = previous

    assert (report.status, report.error) == ("completed", None)
    said: dict[str, Any] = {
        cell.id: "".join(output.get("text", "") for output in cell.outputs)
        for cell in nbformat.read(report.output, as_version=4).cells
        if cell.cell_type == "code"
    }
    assert "exit code 75" in said["run"]
    assert "your approval of publish" in said["run"]
    assert "exit code 0" in said["resume"]
    assert said["output"] == "'Oslo: 40 (published)'\n"
    assert "3 jobs queued" in said["queue"]
    table = said["table"].splitlines()
    assert table[0].startswith("city,public,job,status")
    states = sorted(line.split(",")[3] for line in table[1:])
    assert states == ["completed", "completed", "completed", "waiting"]
    assert "exit code 0" in said["decide"]
    assert "would delete 0 runs" in said["keep"]
    assert "saved/journal.db and journal.key: 4 runs" in said["keep"]


@pytest.mark.slow
def test_crons_line_does_what_it_says(home: Path) -> None:
    """Every line of the crontab is a command that `sh` understands as cron gives it, and the job's is run once a day."""
    (table,) = blocks("crontab")
    lines = [line for line in table.splitlines() if line.strip() and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    commands = [
        line.split(None, 5)[5].replace(r"\%", "%") for line in lines if not re.match(r"[A-Z_]+=", line)
    ]
    assert len(commands) == 3

    done = [shell(home, command, **settings) for command in commands]

    assert [d.returncode for d in done] == [0, 0, 0], [d.stderr for d in done]
    again = shell(home, commands[0], **settings)
    assert again.returncode == 0
    with open_store(home / "agents" / "journal.db") as store:
        assert {run.status for run in store.runs(name="report")} == {"completed"}
        assert len(store.runs(name="report")) == 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemds_units_verify(home: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing in them; what they start runs, and ends well when it is told to."""
    units = {}
    for text in blocks("ini"):
        name = re.match(r"# .*?([\w@-]+\.(?:service|timer))", text)
        assert name is not None
        units[name[1]] = text.replace("%h", str(home))
        (tmp_path / name[1]).write_text(units[name[1]])
    assert set(units) == {"durable-worker.service", "durable-gc.service", "durable-gc.timer"}

    for name in units:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        found = [line for line in done.stderr.splitlines() if line.strip() and str(tmp_path / name) in line]
        assert not found, found
    start = re.search(r"ExecStart=(.*)", units["durable-worker.service"])
    assert start is not None
    shell(
        home, f"cd agents && {home}/agents/.venv/bin/jupyter-durable submit report.ipynb --store journal.db"
    )
    environment = {"JUPYTER_DURABLE_STORE": str(home / "agents" / "journal.db")}
    worker = subprocess.Popen(
        start[1].split(),
        cwd=home / "agents",
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stderr is not None
    for line in worker.stderr:
        if "completed in" in line:
            break
    worker.terminate()
    assert worker.wait(60) == 0
    gc = re.search(r"ExecStart=(.*)", units["durable-gc.service"])
    assert gc is not None
    assert shell(home, gc[1], **environment).returncode == 0


@pytest.mark.slow
def test_the_steps_of_ci_do_what_they_say(home: Path, tmp_path: Path) -> None:
    """Every step, in order, on two days: a new checkout each, the store from the cache, the key from the secret."""
    import yaml

    (text,) = blocks("yaml")
    steps = yaml.safe_load(text)["jobs"]["report"]["steps"]
    checkout, cache, bins = tmp_path / "checkout", tmp_path / "cache", f"{home}/agents/.venv/bin"
    key = secrets.token_hex(32)

    def day(waits: str) -> list[str]:
        """What its steps said."""
        shutil.rmtree(checkout, ignore_errors=True)
        said, kept = [], []
        for step in steps:
            if "run" in step:
                env = {
                    name: value.replace("${{ secrets.JUPYTER_DURABLE_KEY }}", key)
                    for name, value in step.get("env", {}).items()
                }
                assert not any("${{" in value for value in [step["run"], *env.values()])
                done = shell(
                    home,
                    f"cd {checkout}\n{step['run']}",
                    PATH=f"{bins}:/usr/bin:/bin",
                    PIP_NO_INDEX="1",  # what it names is installed, from this checkout: no other is to be fetched
                    PIP_DISABLE_PIP_VERSION_CHECK="1",
                    **env,
                )
                assert done.returncode == 0, done.stdout + done.stderr
                said.append(done.stdout)
            elif step["uses"].startswith("actions/checkout@"):
                checkout.mkdir()
                shutil.copy(home / "agents" / "report.ipynb", checkout)
                (checkout / "parameters.yaml").write_text(f"wait: {waits}\n")
            elif step["uses"].startswith("actions/cache@"):
                kept.append(checkout / step["with"]["path"])
                if cache.exists():
                    shutil.copytree(cache, kept[0])
            else:
                assert step["uses"].startswith("actions/setup-python@")
        (store,) = kept
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(store, cache)
        return said

    first = day("true")

    assert "Requirement already satisfied: jupyter-durable" in first[0]
    assert "::notice::" in first[1]
    assert not list(cache.glob("*.key")), "the key is a secret, and not in the cache"
    os.environ["JUPYTER_DURABLE_KEY"] = key
    try:
        with open_store(checkout / "store" / "journal.db") as store:
            (run,) = store.runs(name="report")
            assert run.status == "waiting"
            store.signal(run.id, "go", 5)
        shutil.rmtree(cache)
        shutil.copytree(checkout / "store", cache)
        second = day("true")
        assert "::notice::" not in second[1]
        with open_store(checkout / "store" / "journal.db") as store:
            assert [r.status for r in store.runs(name="report")] == ["completed"]
    finally:
        del os.environ["JUPYTER_DURABLE_KEY"]
