"""What an installed wheel must be able to do with nothing else around it; run by `.ci/run`."""

import subprocess
import sys
from pathlib import Path

import nbformat

import jupyter_durable as durable


def main() -> None:
    """A script, a notebook and the command line, each a durable run."""

    @durable.run("smoke")
    def smoke() -> int:
        return sum(durable.step("square", lambda n=n: n * n) for n in range(4))

    assert smoke() == 14
    cells = [
        "%load_ext jupyter_durable",
        "%%durable smoke\nimport jupyter_durable as d\nd.step('one', lambda: 1)",
    ]
    notebook = Path("smoke.ipynb")
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), notebook
    )
    for command in (["run", str(notebook)], ["ls", "--json"], ["verify"]):
        subprocess.run([sys.executable, "-m", "jupyter_durable.cli", *command], check=True, timeout=120)
    print("smoke: ok")


if __name__ == "__main__":
    main()
