"""`python tests/bench [NAME ...] [--json]`: the table of figures that stands in the README."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sqlite3

import bench_capture
import bench_figures
from bench_kit import Figure, directory

ALL = bench_figures.ALL | bench_capture.ALL


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *ALL], help="only these (default: all)")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    chosen = parser.parse_args()
    found: list[Figure] = []
    for name in chosen.names or ALL:
        with directory() as place:
            found.append(ALL[name](place))
    if chosen.json:
        print(json.dumps([dataclasses.asdict(figure) for figure in found], indent=1))
        return
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()}\n")
    print("| what | floor beside it | ours | figure | target |")
    print("|---|---:|---:|---:|---:|")
    for figure in found:
        cells = (
            figure.what,
            figure.floor,
            figure.ours,
            figure.show(figure.value),
            f"≤ {figure.show(figure.target)}",
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
