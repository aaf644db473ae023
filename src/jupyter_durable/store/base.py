"""The rules every store keeps, over rows that a place of storage provides.

Fencing, chaining, forks, leases, the inbox and what is refused when it does not verify are decided
here once. `memory` and `sqlite` say only where rows are and what a transaction is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_durable.errors import AlreadyDecidedError, IntegrityError, RunNotFoundError, StoreError
from jupyter_durable.model import (
    Draft,
    InboxItem,
    Lease,
    Owner,
    Payload,
    Problem,
    RunRecord,
    RunStatus,
)
from jupyter_durable.store import integrity, leases, lineage
from jupyter_durable.store.drafting import Live, pack_payload, prepare
from jupyter_durable.store.remains import Remains
from jupyter_durable.store.rows import (
    HeadRow,
    InboxRow,
    Registry,
    RunRow,
    as_dict,
    from_json,
    owner_json,
    to_item,
    to_json,
    to_lease,
    to_record,
)


class RowStore(Remains):
    """`JournalStore`, given rows. Any thread may call; writes take turns."""

    # -- runs ------------------------------------------------------------------------------------

    def create_run(self, run: RunRecord, owner: Owner, ttl: float, first: Sequence[Draft] = ()) -> Lease:
        """See `JournalStore`. Raises `StoreError` if there is a run of this id."""
        now = self._clock.now()
        prepared = [prepare(draft, now) for draft in first]
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            if rows.find(run.id) is not None:
                raise StoreError(f"there is a run {run.id} already", hint="resume it, or make a new id")
            lineage.check_base(rows, self._found, run)
            registry = self._registry(rows)
            row = self._sealed(
                RunRow(
                    registry.made + 1,
                    run.id,
                    run.name,
                    float(run.created_at),
                    run.notebook,
                    run.cell_id,
                    run.job_id,
                    run.parent_id,
                    run.root_id,
                    run.forked_from,
                    run.fork_kind,
                    run.base_seq,
                    run.base_hash,
                    "[]",
                    to_json(as_dict(run.meta)),
                    0,
                    b"",
                )
            )
            head = self._sealed_head(
                row.id,
                HeadRow(
                    row.run,
                    run.status,
                    float(run.updated_at),
                    run.base_seq,
                    run.base_hash,
                    1,
                    owner_json(owner, now),
                    now + ttl,
                    b"",
                ),
            )
            rows.add_run(row, head)
            registry = Registry(registry.made + 1, registry.kept + 1, b"")
            rows.put_registry(registry._replace(mac=self._seals.registry(registry)))
            live = Live(self._seals, row, head)
            if prepared:
                head, written = live.extend(prepared, now)
                rows.advance_head(live.head.mac, head)
                for draft in first:
                    if draft.payload is not None and draft.payload.chunks:
                        self._store_chunks(rows, draft.payload)
                rows.add_entries(written)
                live.head = head
            rows.commit()
            self._live[row.id] = live
        self._flush()
        return to_lease(row, head, owner)

    def run(self, run_id: str, *, deleted: bool = False) -> RunRecord:
        """See `JournalStore`."""
        with self._reading() as rows:
            found = rows.find(run_id) if run_id else None
            if found is None:
                ids = rows.ids_starting(run_id) if run_id else []
                if len(ids) > 1:
                    raise RunNotFoundError(
                        f"{run_id!r} is the beginning of several runs' ids",
                        hint="write more of it: " + ", ".join(ids),
                    )
                found = rows.find(ids[0]) if ids else None
        if found is None:
            raise lineage.no_run(run_id)
        if not deleted:
            self._check_present(found[0])
        return to_record(*self._checked(*found))

    def runs(
        self,
        *,
        status: str | None = None,
        name: str | None = None,
        notebook: str | None = None,
        job_id: str | None = None,
        limit: int | None = None,
    ) -> list[RunRecord]:
        """See `JournalStore`. Raises `IntegrityError` if one of them does not verify."""
        with self._reading() as rows:
            found = rows.select(
                status=status, name=name, notebook=notebook, job_id=job_id, limit=limit, deleted=False
            )
        return [to_record(*self._checked(*both)) for both in found]

    def update_run(
        self,
        lease: Lease,
        *,
        status: RunStatus | None = None,
        notebook: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """See `JournalStore`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            live = self._settled(rows, lease)
            row = live.row
            if notebook is not None:
                row = row._replace(notebook=notebook)
            if meta is not None:
                row = row._replace(meta=to_json({**from_json(row.meta), **meta}))
            if row is not live.row:
                row = self._sealed(row)
                rows.put_run(row)
            head = live.head._replace(status=status or live.head.status, updated_at=self._clock.now())
            head = self._sealed_head(row.id, head)
            rows.swap_head(live.head.mac, head)
            rows.commit()
            live.row = row
            live.lead(head)
            self._live[row.id] = live
        self._flush()

    def add_alias(self, run_id: str, notebook: str) -> None:
        """See `JournalStore`. Raises `RunNotFoundError`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            row, _ = self._found(rows, run_id)
            aliases = from_json(row.aliases)
            if notebook == row.notebook or notebook in aliases:
                return
            rows.put_run(self._sealed(row._replace(aliases=to_json([*aliases, notebook]))))
            rows.commit()
        self._flush()

    # -- leases ----------------------------------------------------------------------------------

    def acquire(self, run_id: str, owner: Owner, ttl: float) -> Lease:
        """See `JournalStore`. Raises `RunNotFoundError`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            row, head = self._found(rows, run_id)
            self._check_present(row)
            now = self._clock.now()
            leases.check_free(row, head, owner, now)
            taken = self._sealed_head(
                row.id,
                head._replace(
                    generation=head.generation + 1, owner=owner_json(owner, now), expires_at=now + ttl
                ),
            )
            rows.swap_head(head.mac, taken)
            rows.commit()
            live = self._live[row.id] = Live(self._seals, row, taken)
        self._flush()
        # Now that nobody else can add to it.
        self._store_staged(live)
        return to_lease(row, taken, owner)

    def renew(self, lease: Lease, ttl: float) -> Lease:
        """See `JournalStore`."""
        # Not durable: after power loss there is no process left whose lease could be too short.
        with self._turn, self._backstop, self._writing(durable=False) as rows:
            live = self._settled(rows, lease)
            head = self._sealed_head(live.row.id, live.head._replace(expires_at=self._clock.now() + ttl))
            rows.swap_head(live.head.mac, head)
            rows.commit()
            live.lead(head)
            self._live[lease.run_id] = live
        return to_lease(live.row, head, lease.owner)

    def release(self, lease: Lease) -> None:
        """See `JournalStore`."""
        with self._turn, self._backstop, self._writing(durable=False) as rows:
            row, head = self._found(rows, lease.run_id)
            if head.generation == lease.generation and head.owner is not None:
                head = self._settled(rows, lease).head
                free = self._sealed_head(row.id, head._replace(owner=None, expires_at=0.0))
                rows.swap_head(head.mac, free)
                rows.commit()
            live = self._live.pop(lease.run_id, None)
        if live is not None and live.place is not None:
            live.place.remove()

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
        """See `JournalStore`."""
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            row = self._present(rows, run_id)
            first = rows.decided(row.run, key)
            if first is not None:
                item = self._item(row, first)
                raise AlreadyDecidedError(
                    f"{key} was decided already, by {item.by}",
                    decided_by=item.by,
                    hint=f"the first decision stands; see it with `jupyter durable show {row.id}`",
                )
            codec, packed, body, refs = pack_payload(payload)
            if payload is not None and payload.chunks:
                self._store_chunks(rows, payload)
            text = to_json(as_dict(value))
            at = self._clock.now()
            new = InboxRow(row.run, row.posted + 1, kind, key, text, codec, packed, body, refs, by, at, b"")
            new = new._replace(mac=self._seals.inbox(row.id, new))
            rows.add_inbox(new)
            rows.put_run(self._sealed(row._replace(posted=row.posted + 1)))
            self._wake(rows, row, at)
            rows.commit()
        self._flush()
        return to_item(row.id, new)

    def inbox(self, run_id: str, *, after: int = 0) -> list[InboxItem]:
        """See `JournalStore`. Raises `RunNotFoundError`; `IntegrityError` too if rows are missing."""
        with self._reading() as rows:
            row, _ = self._found(rows, run_id)
            found = rows.inbox(row.run, after)
        items = [self._item(row, one) for one in found]
        # Rows posted between the two reads may be there; none that was counted may be absent.
        if [item.id for item in items] != list(range(after + 1, after + 1 + len(items))) or (
            after + len(items) < row.posted
        ):
            raise lineage.broken(row.id, "inbox rows are missing")
        return items

    # -- care ------------------------------------------------------------------------------------

    def verify(self, run_id: str | None = None) -> list[Problem]:
        """See `JournalStore`. Raises `RunNotFoundError` for a run that is not there.

        Putting back an earlier copy of the whole store, or of all that is kept of one run, cannot
        be noticed from inside it.
        """
        try:
            with self._snapshot() as rows:
                return integrity.verify(rows, self._seals, run_id)
        except IntegrityError as error:
            return [Problem(run_id, "file", str(error.args[0]))]

    # -- parts -----------------------------------------------------------------------------------

    def _sealed(self, row: RunRow) -> RunRow:
        return row._replace(mac=self._seals.run(row))

    def _item(self, row: RunRow, found: InboxRow) -> InboxItem:
        if not self._seals.is_inbox(row.id, found):
            raise lineage.broken(row.id, f"inbox row {found.n} does not verify")
        return to_item(row.id, found)
