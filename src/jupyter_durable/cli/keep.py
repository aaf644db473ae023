"""`jupyter durable gc`, `backup`, `copy`, `import`, `store`: what is kept, and where."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jupyter_durable.cli import json_option, store_option
from jupyter_durable.cli.run import Seconds
from jupyter_durable.cli.text import from_here
from jupyter_durable.errors import DurableError, StoreError

if TYPE_CHECKING:
    from jupyter_durable.journal.ports import JournalStore
    from jupyter_durable.model import Collected

_MUCH = 1 << 20  # bytes: what is free below that is not worth a line
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Bytes(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A size: 2G, 500M."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", str(value).lower())
        if found is None:
            self.fail(f"{value!r} is no size; say for example 500M or 2G", param, ctx)
        return int(float(found[1]) * _UNITS[found[2]])


def size(number: float) -> str:
    """Bytes for people.

    >>> size(512), size(3 << 20)
    ('512 B', '3.0 MB')
    """
    for limit, unit in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}"
    return f"{number:.0f} B"


@click.command()
@click.option("--older-than", type=Seconds(), metavar="TIME", help="Delete what ended longer ago: 30d, 12h.")
@click.option(
    "--max-size",
    type=Bytes(),
    metavar="SIZE",
    help="Then delete the oldest until about so much is in use: 2G, 500M.",
)
@click.option(
    "--keep-failed", is_flag=True, help="Keep what failed or was interrupted; it may yet be resumed."
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option(
    "--vacuum",
    is_flag=True,
    help="Then make the file smaller, if nothing is being run: others wait meanwhile.",
)
@store_option
@json_option
def gc(
    older_than: float | None,
    max_size: int | None,
    keep_failed: bool,
    dry_run: bool,
    vacuum: bool,
    store: str | None,
    as_json: bool,
) -> None:
    """Delete old runs and jobs, and the data that only they needed.

    Never what a process advances, what waits, nor what a fork that stays is based on. Safe while others write: data is
    put aside first, and goes with a later gc, ten minutes on. What is freed is used again; the file itself does not shrink
    but with --vacuum, which is refused while somebody is at work, and needs as much room on the disk as is in use.
    Without options it only does that tidying.
    """
    if vacuum and dry_run:
        raise click.UsageError("--vacuum does something, and --dry-run nothing: give one of them")
    from jupyter_durable.store import connect

    with closing(connect(store)) as journal:
        done = journal.gc(older_than=older_than, keep_failed=keep_failed, max_bytes=max_size, dry_run=dry_run)
        if not as_json:
            _say(done, dry_run=dry_run)
        if vacuum:
            before, after = journal.shrink()
            done = replace(done, file_bytes=after)
    if as_json:
        click.echo(json.dumps(asdict(done) | {"dry_run": dry_run}))
    elif vacuum:
        click.echo(f"the file: {size(before)}, now {size(after)}")
    elif done.file_bytes - done.bytes_after >= _MUCH and not dry_run:
        free = size(done.file_bytes - done.bytes_after)
        click.echo(
            f"the file stays at {size(done.file_bytes)}: {free} in it are free, and used before it grows. "
            "To make it smaller, while nothing is being run: jupyter durable gc --vacuum"
        )


def _say(done: Collected, *, dry_run: bool) -> None:
    would = "would delete" if dry_run else "deleted"
    kept = f"; {done.kept} stay, for others are based on them" if done.kept else ""
    click.echo(f"{would} {len(done.runs)} runs and {len(done.jobs)} jobs{kept}")
    about = "about " if dry_run else ""
    click.echo(f"in use: {size(done.bytes_before)}, then {about}{size(done.bytes_after)}")
    if done.aside:
        click.echo(f"{done.aside} pieces of data were put aside; a gc in ten minutes deletes them")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--no-verify", is_flag=True, help="Do not check the copy.")
@store_option
@json_option
def backup(file: Path, no_verify: bool, store: str | None, as_json: bool) -> None:
    """Copy the store to FILE, as it is at one moment; others may go on writing. Its key goes beside it.

    Who has both can read all that is in it: keep them as you keep the store. `--store FILE` uses it as it is.
    """
    from jupyter_durable.store import connect
    from jupyter_durable.store.keyfile import key_path

    with closing(connect(store)) as journal:
        journal.backup(file)
    problems = 0
    runs = 0
    with closing(connect(str(file.resolve()))) as copy:
        runs = len(copy.runs())
        if not no_verify:
            problems = len(copy.verify())
    key = key_path(file.resolve())
    if as_json:
        said = {"file": str(file.resolve()), "key": str(key), "runs": runs, "bytes": file.stat().st_size}
        click.echo(
            json.dumps(said | {"verified": None if no_verify else problems == 0, "problems": problems})
        )
    else:
        click.echo(
            f"{from_here(str(file.resolve()))} and {key.name}: {runs} runs, {size(file.stat().st_size)}"
        )
    if problems:
        raise StoreError(
            f"the backup does not verify: {problems} problems",
            hint="`jupyter durable verify` says which are the store's own",
        )


@click.command("copy")
@click.argument("run")
@click.argument("target", metavar="STORE")
@store_option
@json_option
def copy(run: str, target: str, store: str | None, as_json: bool) -> None:
    """Copy a RUN to another STORE: its journal, the runs it was forked from, its child runs, and its job.

    A file that is not there becomes a store of its own with the same key, to be taken elsewhere: use it by --store, or
    `import` it into a store that has that key. What a journal says is bound to its key. A run that is there already
    gets what was done since.
    """
    from jupyter_durable.store import connect

    with closing(connect(store)) as here, closing(_target(here, target)) as there:
        _copied(here, there, [_run(here, run)], as_json=as_json)


@click.command("import")
@click.argument("source", metavar="STORE")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@store_option
@json_option
def import_(source: str, runs: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Take RUNs (default: all) of another STORE into this one, which has the same key or is new."""
    from jupyter_durable.store import connect

    if not Path(source).exists() and "://" not in source:
        raise StoreError(
            f"there is no store {source}", hint="give the file of a store; its key stands beside it"
        )
    with closing(connect(source)) as there, closing(_target(there, store)) as here:
        wanted = [_run(there, run) for run in runs] or [record.id for record in there.runs()]
        _copied(there, here, wanted, as_json=as_json)


def _run(journal: JournalStore, run: str) -> str:
    from jupyter_durable.session import Store

    return Store(journal)._record(run).id


def _target(source: JournalStore, url: str | None) -> JournalStore:
    """A store to copy to; made with the source's key if it is not there."""
    from jupyter_durable.store import connect, keyfile, place

    path = place.resolve(url)
    if path is not None and not path.exists() and keyfile.find_key(path) is None:
        place.make_directory(path.parent)
        keyfile.make_key(path, source.key)
    return connect(url)


def _copied(source: JournalStore, target: JournalStore, runs: list[str], *, as_json: bool) -> None:
    from jupyter_durable.store.base import RowStore
    from jupyter_durable.store.transfer import copy as copy_run

    if not isinstance(source, RowStore) or not isinstance(target, RowStore):
        raise DurableError("these stores cannot copy runs", hint="both must be files")
    made: list[str] = []
    for run in runs:
        made += copy_run(source, target, run)
    if as_json:
        click.echo(json.dumps({"runs": made, "store": target.url}))
    else:
        others = f" ({len(runs)} asked for)" if len(made) != len(runs) else ""
        many = "1 run is" if len(made) == 1 else f"{len(made)} runs are"
        click.echo(f"{many} in {target.url} now, new or further than there was{others}")


@click.command("store")
@store_option
@json_option
def store_(store: str | None, as_json: bool) -> None:
    """Say where the store is, and what is in it."""
    from jupyter_durable.store import connect, keyfile, place

    path = place.resolve(store)
    exists = path is None or path.exists()
    said: dict[str, Any] = {"store": place.to_url(path) if path else "memory:", "exists": exists}
    if path is not None:
        said["key"] = str(keyfile.key_path(path))
    if path is not None and exists:
        with closing(connect(store)) as journal:
            runs, jobs = journal.runs(), journal.jobs()
        said |= {
            "bytes": path.stat().st_size,
            "runs": _counts(run.status for run in runs),
            "jobs": _counts(job.status for job in jobs),
        }
    if as_json:
        click.echo(json.dumps(said))
        return
    click.echo(said["store"])
    if not exists:
        click.echo("  not there yet: the first run makes it")
        return
    for name in ("runs", "jobs"):
        counts = said.get(name) or {}
        click.echo(f"  {name}: " + (", ".join(f"{n} {status}" for status, n in counts.items()) or "none"))
    if "bytes" in said:
        click.echo(f"  {size(said['bytes'])}; key: {said['key']}")


def _counts(statuses: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for status in statuses:
        counts[status] = counts.get(status, 0) + 1
    return dict(sorted(counts.items()))
