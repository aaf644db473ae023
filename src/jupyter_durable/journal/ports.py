"""What the engine and the runtime need from storage, as contracts every store keeps.

Each method says whether it is atomic, whether it may be repeated, and what it does about absence.
All methods may be called from any thread and block the caller; the runtime decides which thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.model import (
    Chunk,
    Collected,
    Draft,
    Entry,
    InboxItem,
    JobRecord,
    JobStatus,
    Lease,
    Owner,
    Payload,
    Problem,
    RunRecord,
    RunStatus,
)


class JournalStore(Protocol):
    """Runs, their journals, the chunks these refer to, leases and the inbox."""

    url: str
    """What `open_store` was given, in its canonical form."""
    key: StoreKey

    def close(self) -> None:
        """Release files and locks. May be repeated; every other call after it raises `StoreError`."""
        ...

    # -- runs ------------------------------------------------------------------------------------

    def create_run(self, run: RunRecord, owner: Owner, ttl: float, first: Sequence[Draft] = ()) -> Lease:
        """Insert the run's row, its first lease (generation 1, `ttl` seconds) and entries, atomically and durably.

        For a fork, `run.base_seq`/`base_hash` name the parent's entry it starts from: the new
        chain's head is that hash, and its first entry has sequence number `base_seq + 1`.
        Raises `IntegrityError` if the parent has no such entry.
        """
        ...

    def run(self, run_id: str, *, deleted: bool = False) -> RunRecord:
        """The row of this id, or of the only run whose id starts with it. Raises `RunNotFoundError`.

        `deleted`: also one of which only what its forks need is left.

        Raises `IntegrityError` if the row's MAC (over id, base, head and length) does not verify.
        """
        ...

    def runs(
        self,
        *,
        status: str | None = None,
        name: str | None = None,
        notebook: str | None = None,
        job_id: str | None = None,
        limit: int | None = None,
    ) -> list[RunRecord]:
        """Matching rows, newest first. `notebook` also matches a run's path aliases; an empty `job_id` the runs of none."""
        ...

    def update_run(
        self,
        lease: Lease,
        *,
        status: RunStatus | None = None,
        notebook: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Change the given fields; `meta` is merged. Checks the lease: raises `LeaseLost`."""
        ...

    def add_alias(self, run_id: str, notebook: str) -> None:
        """Let `runs(notebook=...)` find this run by one more path. May be repeated."""
        ...

    # -- leases ----------------------------------------------------------------------------------

    def acquire(self, run_id: str, owner: Owner, ttl: float) -> Lease:
        """Take the lease for `ttl` seconds, with a generation above every earlier one, atomically.

        Free to take: none held, released, expired, held by a process of this host that is gone
        (pid and start time), or by `owner` itself. Otherwise raises `LeaseHeldError` naming the
        holder.
        """
        ...

    def renew(self, lease: Lease, ttl: float) -> Lease:
        """Extend the lease. Raises `LeaseLost` if another generation holds it."""
        ...

    def release(self, lease: Lease) -> None:
        """Give the lease back. A lease that was lost meanwhile is left alone; may be repeated."""
        ...

    # -- the journal -----------------------------------------------------------------------------

    def append(
        self, lease: Lease, drafts: Sequence[Draft], *, durable: bool, status: RunStatus | None = None
    ) -> list[Entry]:
        """Append all drafts, in order, or none: one transaction that also checks `lease.generation`.

        `durable=True` returns only when power loss cannot undo it (`synchronous=FULL`);
        `False` when the death of this process cannot (`NORMAL`). Chunks not stored yet are stored
        in the same transaction. `status`, if given, becomes the run's. Two calls with the same
        drafts append them twice. Raises `LeaseLost`, or `StoreError` (disk full: nothing appended,
        the store stays usable).

        The returned entries carry `seq`, `at`, `hash` and the payload without its chunks.
        """
        ...

    def write(
        self, lease: Lease, drafts: Sequence[Draft], *, durable: bool, status: RunStatus | None = None
    ) -> None:
        """`append` for whoever does not need to know what the drafts have become."""
        ...

    def stage(self, lease: Lease, drafts: Sequence[Draft]) -> bool:
        """Keep the drafts where the death of this process cannot undo them, to be stored with the next append.

        Cheaper than `append`, and never waits for another process. `entries` has them at once; the run's
        row, and a watcher of `version`, only after the next `append`, `settle`, `renew` or `release`.
        False: not possible here or now (large values, a lost lease); nothing was kept, append them.
        """
        ...

    def settle(self, lease: Lease) -> None:
        """Store what is staged. Raises `LeaseLost`, `StoreError`."""
        ...

    def entries(self, run_id: str, *, after: int = 0, upto: int | None = None) -> Iterator[Entry]:
        """The entries with `after < seq <= upto`, in order, the hash chain verified as it goes.

        A fork's entries begin with its parent's up to `base_seq`, and so on up the chain.
        Raises `IntegrityError` at the first entry that does not verify, and at the end if the
        journal is shorter than its run row says.
        """
        ...

    def chunk(self, digest: bytes) -> Chunk:
        """The chunk of this digest, verified against it. Raises `IntegrityError` if absent or altered."""
        ...

    def has_chunk(self, digest: bytes) -> bool:
        """Whether the chunk is stored."""
        ...

    # -- the inbox -------------------------------------------------------------------------------

    def post(
        self,
        run_id: str,
        kind: str,
        key: str,
        value: Mapping[str, Any],
        *,
        by: str,
        payload: Payload | None = None,
    ) -> InboxItem:
        """Write a row for the run's owner to consume; durable when it returns.

        `key` is unique in the run: the first row stands, a second raises `AlreadyDecidedError`
        naming who decided. Raises `RunNotFoundError`.
        """
        ...

    def inbox(self, run_id: str, *, after: int = 0) -> list[InboxItem]:
        """The rows with `id > after`, in order, each verified against its MAC (`IntegrityError`)."""
        ...

    # -- jobs ------------------------------------------------------------------------------------

    def put_jobs(self, jobs: Sequence[JobRecord]) -> None:
        """Insert jobs, all or none, durably. Raises `StoreError` if there is one of that id."""
        ...

    def job(self, job_id: str) -> JobRecord:
        """The job of this id, or the only one whose id starts with it. Raises `RunNotFoundError`.

        As for each of these methods: `IntegrityError` if its row does not verify.
        """
        ...

    def jobs(
        self,
        *,
        status: JobStatus | None = None,
        batch: str | None = None,
        notebook: str | None = None,
        limit: int | None = None,
    ) -> list[JobRecord]:
        """Matching jobs, newest first. `notebook` also matches where a job writes."""
        ...

    def next_job(self, owner: Owner, ttl: float, *, skip: Collection[str] = ()) -> JobRecord | None:
        """Take the job that is to be done next, atomically: it is `owner`'s for `ttl` seconds, and `running`.

        First those whose holders are gone, then those that are due, by priority and then in the order in which they were
        made; not one that would exceed its limits, nor those to `skip`. None: nothing is to be done. Looking in
        vain writes nothing.
        """
        ...

    def take_job(self, job_id: str, owner: Owner, ttl: float) -> JobRecord:
        """The same for one job, due or not. Raises `LeaseHeldError` naming who is at it."""
        ...

    def renew_job(self, job: JobRecord, ttl: float) -> JobRecord:
        """Hold it `ttl` seconds more. Raises `LeaseLost` if another has taken it over."""
        ...

    def leave_job(
        self, job: JobRecord, status: JobStatus, *, due_at: float | None = None, report: Mapping[str, Any]
    ) -> JobRecord:
        """End being at it, durably; it goes on at `due_at`. Raises `LeaseLost`."""
        ...

    def wake_job(
        self, job_id: str, at: float | None, *, only: Collection[JobStatus], status: JobStatus | None = None
    ) -> bool:
        """Let a job that nobody holds be due at `at` (None: not by itself); whether it was in one of the states `only`.

        What is posted for a run does so for its job, if that is `waiting`, in the same transaction.
        """
        ...

    def cancel_job(self, job_id: str) -> bool:
        """End a job for good, also one that somebody holds: it is not theirs any more. False: it had ended."""
        ...

    def next_due(self) -> float | None:
        """When the next job is due that nobody holds; None: none is."""
        ...

    def abandoned_jobs(self) -> list[JobRecord]:
        """Jobs whose holders are gone."""
        ...

    def delete_jobs(self, job_ids: Collection[str]) -> int:
        """Delete jobs that nobody holds; how many there were."""
        ...

    def version(self) -> int:
        """A number that changes whenever another connection has committed. Microseconds; never blocks."""
        ...

    # -- what is not needed any more -------------------------------------------------------------

    def forget_run(self, run_id: str) -> bool:
        """Delete a run and its children, atomically; whether what forks need of it stays, which goes with the last of them.

        Nobody finds it any more. Raises `LeaseHeldError` if somebody advances it, and `RunNotFoundError`.
        """
        ...

    def delete_runs(self, run_ids: Collection[str]) -> list[str]:
        """Delete runs and their children, all or none; their ids. Chunks that only they referred to go with a later `gc`.

        Raises `LeaseHeldError` if somebody advances one of them, or a run that is not deleted was forked from it, and
        `RunNotFoundError`.
        """
        ...

    def gc(
        self,
        *,
        older_than: float | None = None,
        keep_failed: bool = False,
        max_bytes: int | None = None,
        dry_run: bool = False,
    ) -> Collected:
        """Delete runs and jobs that ended more than `older_than` seconds ago, then the oldest until about `max_bytes` are in use.

        Never one that somebody advances, that waits, or that a run which stays was forked from; with `keep_failed` none
        that failed or was interrupted. Safe beside others that write. `dry_run`: only say.
        """
        ...

    def shrink(self) -> tuple[int, int]:
        """Give what is free inside the file back to the file system: its bytes before and after. Others wait meanwhile.

        Raises `LeaseHeldError` if somebody advances a run or is at a job, and `StoreError`, if there is no room to do it in.
        """
        ...

    def backup(self, path: Path) -> None:
        """Copy the store, as it is at one moment, and its key to a file that is not there yet. Others may write meanwhile.

        Raises `StoreError`.
        """
        ...

    # -- care ------------------------------------------------------------------------------------

    def verify(self, run_id: str | None = None) -> list[Problem]:
        """Every edit, deletion, swap or truncation found in one run, or in the whole store. Never raises for them."""
        ...
