"""`jupyter durable doctor`: whether all is well here, and what to do where it is not."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import click

from jupyter_durable.cli import json_option, store_option
from jupyter_durable.cli.text import ago, span
from jupyter_durable.clock import SystemClock
from jupyter_durable.errors import DurableError

Level = Literal["ok", "note", "problem"]


class Finding(NamedTuple):
    """One thing that was looked at."""

    topic: str
    level: Level
    says: str
    do: str = ""


@click.command()
@click.option("--deep", is_flag=True, help="Also verify everything that is in the store.")
@store_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, deep: bool, store: str | None, as_json: bool) -> None:
    """Check the store, its locks and permissions, kernels, versions and the clock; say what to do.

    Exit code 1 if something is wrong, 0 if nothing is (there may be notes).
    """
    found = list(examine(store, deep=deep))
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in found], indent=2))
    else:
        for finding in found:
            sign = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}[finding.level]
            click.echo(f"{sign}  {finding.topic}: {finding.says}")
            if finding.do:
                click.echo(f"         {finding.do}")
    ctx.exit(1 if any(finding.level == "problem" for finding in found) else 0)


def examine(store: str | None, *, deep: bool = False) -> Iterator[Finding]:
    """Everything that was looked at, in the order in which people would."""
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("versions", _versions),
        ("kernels", _kernels),
        ("store", lambda: _store(store, deep=deep)),
        ("clock", lambda: _clock(store)),
    )
    for topic, check in checks:
        try:
            yield from check()
        except DurableError as error:
            yield Finding(topic, "problem", str(error.args[0]), error.hint)
        except Exception as error:  # noqa: BLE001 - a check that fails is a finding, too
            yield Finding(
                topic, "problem", f"{type(error).__name__}: {error}", "report this: it should not happen"
            )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _versions() -> Iterator[Finding]:
    ours = _version("jupyter-durable") or "not installed as a package"
    yield Finding("versions", "ok", f"jupyter-durable {ours}, Python {sys.version.split()[0]}")
    parts = ("ipykernel", "ipython", "nbclient", "jupyter_client", "pydantic", "click")
    found = ", ".join(f"{name} {_version(name) or 'missing'}" for name in parts)
    missing = [name for name in parts if _version(name) is None]
    yield Finding(
        "versions",
        "problem" if missing else "ok",
        found,
        f"pip install {' '.join(missing)}" if missing else "",
    )
    import sqlite3

    from jupyter_durable.store.sqlite import SAFE_SQLITE

    safe = sqlite3.sqlite_version_info >= SAFE_SQLITE
    why = "" if safe else "; before 3.51.3, so writers take turns by a lock of their own"
    yield Finding("versions", "ok", f"SQLite {sqlite3.sqlite_version}{why}")
    for name, use in (("rich", "live progress and `watch`"), ("genai-prices", "prices of model calls")):
        if _version(name) is None:
            yield Finding("versions", "note", f"{name} is not installed ({use})", f"pip install {name}")


def _kernels() -> Iterator[Finding]:
    from jupyter_client.kernelspec import KernelSpecManager

    manager = KernelSpecManager()
    names = sorted(manager.find_kernel_specs())
    if "python3" not in names:
        yield Finding(
            "kernels",
            "problem",
            f"there is no kernel called python3 (installed: {', '.join(names) or 'none'})",
            "pip install ipykernel, or name another one with --kernel",
        )
        return
    python = manager.get_kernel_spec("python3").argv[0]
    other = (
        f"; python3 is another Python than this one: {python}"
        if Path(python).name != python and Path(python).resolve() != Path(sys.executable).resolve()
        else ""
    )
    yield Finding(
        "kernels",
        "note" if other else "ok",
        f"{', '.join(names)}{other}",
        f"{python} -m pip install jupyter-durable, if its cells do not find it" if other else "",
    )


def _store(url: str | None, *, deep: bool) -> Iterator[Finding]:
    from jupyter_durable.store import connect, keyfile, place
    from jupyter_durable.store.leases import is_gone

    path = place.resolve(url)
    if path is None:
        yield Finding("store", "note", "memory: ends with each process", "name a file with --store")
        return
    if not path.exists():
        near = next(folder for folder in path.parents if folder.exists())
        if os.access(near, os.W_OK):
            yield Finding("store", "ok", f"{path} does not exist yet; the first run makes it")
        else:
            yield Finding(
                "store",
                "problem",
                f"{path} cannot be made: {near} is not writable",
                "choose another place: JUPYTER_DURABLE_STORE",
            )
        return
    kind = place.file_system(path)
    if place.is_network(kind):
        yield Finding(
            "store",
            "note",
            f"{path} is on a network file system ({kind}): slower, and no log is kept",
            "a local disk is better, if one machine is enough",
        )
    yield from _permissions(path, keyfile.key_path(path))
    free = os.statvfs(path.parent)
    room = free.f_bavail * free.f_frsize
    if room < 200 << 20:
        yield Finding(
            "disk",
            "problem",
            f"{room >> 20} MB are free on its disk",
            "make room; `jupyter durable gc` frees what is old",
        )
    started = time.perf_counter()
    with closing(connect(url)) as store:
        opened = time.perf_counter() - started
        runs, jobs = store.runs(), store.jobs()
        size = path.stat().st_size
        log = path.with_name(path.name + "-wal")
        logged = log.stat().st_size if log.exists() else 0
        yield Finding(
            "store",
            "ok",
            f"{path}: {len(runs)} runs, {len(jobs)} jobs, {size / 1e6:.1f} MB (log {logged / 1e6:.1f} MB), opened in {span(opened)}",
        )
        if logged > 256 << 20:
            yield Finding(
                "store",
                "note",
                f"its log has grown to {logged >> 20} MB: somebody reads from it all the time",
                "end whoever has it open (fuser -v), or wait",
            )
        yield from _lock(path)
        now = SystemClock().now()
        held = [run for run in runs if run.owner is not None]
        alive = [
            run for run in held if run.owner is not None and run.expires_at > now and not is_gone(run.owner)
        ]
        left = [run for run in held if run not in alive and run.status == "running"]
        yield Finding(
            "runs",
            "ok",
            f"{len(alive)} advanced now"
            + "".join(f"\n           {run.name} by {run.owner}" for run in alive[:5]),
        )
        for run in left[:5]:
            yield Finding(
                "runs",
                "note",
                f"{run.name} ({run.id[:13]}): {run.owner} is gone, {ago(now - run.updated_at)}",
                f"jupyter durable resume {run.id[:13]}",
            )
        due = [job for job in jobs if job.owner is None and job.due_at is not None and job.due_at < now - 60]
        if due:
            yield Finding(
                "jobs",
                "note",
                f"{len(due)} due for more than a minute, and nobody does them",
                "jupyter durable worker",
            )
        if deep:
            problems = store.verify()
            for problem in problems[:10]:
                yield Finding(
                    "verify",
                    "problem",
                    f"{problem.run_id or 'store'} {problem.where}: {problem.what}",
                    "restore it, with its key, from a backup",
                )
            if not problems:
                yield Finding("verify", "ok", "all that is stored is as it was written")


def _permissions(path: Path, key: Path) -> Iterator[Finding]:
    for file in (path, key):
        if not file.exists():
            continue
        mode = file.stat().st_mode & 0o777
        if mode & 0o077:
            yield Finding(
                "permissions",
                "problem",
                f"{file} may be read by others (mode {mode:03o})",
                f"chmod 600 {file}",
            )
        elif not os.access(file, os.R_OK) or (file == path and not os.access(file, os.W_OK)):
            yield Finding(
                "permissions",
                "problem",
                f"{file} is not yours to read and write",
                "run this as the user who made it",
            )
        else:
            yield Finding("permissions", "ok", f"{file} is readable by you only")
    if not key.exists() and not os.environ.get("JUPYTER_DURABLE_KEY"):
        yield Finding(
            "permissions",
            "problem",
            f"its key {key} is missing",
            "restore it from a backup, or set JUPYTER_DURABLE_KEY",
        )


def _lock(path: Path) -> Iterator[Finding]:
    from jupyter_durable.store.locks import FileLock

    lock = FileLock(path.with_name(path.name + ".lock"), 2.0)
    started = time.perf_counter()
    try:
        with lock:
            yield Finding(
                "locks", "ok", f"writers can take turns (waited {span(time.perf_counter() - started)})"
            )
    finally:
        lock.close()


def _clock(url: str | None) -> Iterator[Finding]:
    from jupyter_durable.store import connect, place

    now = time.time()
    path = place.resolve(url)
    latest = 0.0
    if path is not None and path.exists():
        with closing(connect(url)) as store:
            latest = max((run.updated_at for run in store.runs(limit=100)), default=0.0)
    if latest > now + 5:
        yield Finding(
            "clock",
            "problem",
            f"the store's newest entry is {span(latest - now)} in the future",
            "set this machine's clock (or the other one's): timers and leases are told by it",
        )
    elif now < 1.7e9:
        yield Finding(
            "clock", "problem", "this machine's clock is years behind", "set it: timers are told by it"
        )
    else:
        zone = time.strftime("%Z")
        yield Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S ") + zone)
