"""The front end as it is shipped, as far as it can be told without Node; `.ci/extension` builds it and compares."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "src" / "jupyter_durable" / "labextension"


def test_the_types_are_those_of_the_shapes() -> None:
    """What TypeScript believes is what pydantic says."""
    script = ROOT / "jupyter_extension" / "tools" / "write_types.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False, timeout=60).returncode == 0


def test_the_bundle_is_small() -> None:
    """Less than 150 KB, compressed."""
    parts = list((BUNDLE / "static").glob("*.js"))
    assert parts
    assert sum(len(gzip.compress(part.read_bytes())) for part in parts) < 150_000


def test_one_version_everywhere() -> None:
    """The package, the front end's source and its bundle."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    source = json.loads((ROOT / "jupyter_extension" / "package.json").read_text())
    built = json.loads((BUNDLE / "package.json").read_text())
    assert source["version"] == built["version"] == version
    entry = BUNDLE / built["jupyterlab"]["_build"]["load"]
    assert entry.exists()


def test_no_address_of_a_registry_and_no_path_of_a_machine() -> None:
    """In what is committed."""
    lock = (ROOT / "jupyter_extension" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    for part in [*BUNDLE.rglob("*"), ROOT / "src" / "jupyter_durable" / "timeline" / "timeline.js"]:
        if part.is_file():
            assert str(ROOT) not in part.read_text(errors="ignore")


def test_the_renderer_in_it_is_the_kernels() -> None:
    """One renderer for every front end: a change of it without a build would show here."""
    source = (ROOT / "src" / "jupyter_durable" / "timeline" / "timeline.js").read_text()
    bundled = "".join(part.read_text() for part in (BUNDLE / "static").glob("*.js"))
    style = source.split("var CSS = `")[1].split("`")[0]
    assert style.count("{") > 100
    assert style in bundled
