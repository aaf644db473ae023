"""Rows that no run made: as many as wanted, of every kind and state, for what is measured and looked at in a browser."""

from __future__ import annotations

import random
from typing import Any

T0 = 1_780_000_000.0

_CALLS = (
    ("tool", "search", "search('durable execution for notebooks', limit=5)", "['Leases and fencing tokens', 'Write-ahead logs']"),
    ("model", "chat", "POST https://api.example/v1/chat/completions", "I found three relevant papers; the first one explains leases."),
    ("http", "GET", "GET https://example.org/papers/17", "200 {'title': 'Leases', 'year': 1989}"),
    ("mcp", "files.read", "files.read(path='notes/plan.md')", "'# Plan\\n- read\\n- write'"),
    ("tool", "fetch", "fetch(url='https://example.org/17', timeout=30)", "'<html>…'"),
)  # fmt: skip


def page(
    count: int = 10_000, *, lanes: int = 6, seed: int = 1, status: str = "running", feed: str = "synthetic"
) -> dict[str, Any]:
    """A page with so many rows, spread over two sessions of work a night apart."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    clock = [T0] * lanes
    gap = 9 * 3600.0
    half = count // 2
    first_end = 0.0
    for n in range(count):
        if n == half:
            first_end = max(clock) + 1
            clock = [first_end + gap + rng.random() for _ in clock]
        lane = min(range(lanes), key=lambda k: clock[k] + rng.random())
        kind, name, call, says = _CALLS[rng.randrange(len(_CALLS))]
        took = rng.expovariate(1 / 0.9) + 0.02
        at = clock[lane] + rng.random() * 0.2
        row: dict[str, Any] = {
            "n": n, "id": f"{lane + 1}.{n}", "lane": lane + 1, "kind": kind, "name": name, "status": "completed",
            "at": at, "end": at + took, "took": took, "call": call, "says": says,
        }  # fmt: skip
        clock[lane] = at + took
        if n < half:
            row["replays"] = 1
        if kind == "model":
            row |= {
                "model": "small-4",
                "tokens": [1200 + rng.randrange(900), rng.randrange(400), 0],
                "cost": 0.0007,
            }
        dice = rng.random()
        if dice < 0.02:
            row |= {"status": "failed", "says": "TimeoutError: no answer in 30 s", "attempts": 3}
        elif dice < 0.03:
            row["old"] = True
        rows.append(row)
    tail = rows[-4:]
    if status == "running" and count > 8:
        for row in tail[:2]:
            for name in ("end", "took", "says"):
                row.pop(name, None)
            row["status"] = "running"
        tail[0]["progress"] = 0.4
        tail[0]["log"] = [{"at": tail[0]["at"], "text": "fetched 40 of 100 pages"}]
        tail[1] |= {
            "kind": "model",
            "name": "chat",
            "model": "small-4",
            "text": "The lease holder writes a fencing token with every",
        }
        tail[2] |= {
            "status": "in_doubt",
            "effect": "unsafe",
            "name": "send_email",
            "call": "send_email(to='ada@example.org')",
            "kind": "tool",
        }
        for name in ("end", "took", "says"):
            tail[2].pop(name, None)
    counts = dict.fromkeys(
        ("completed", "running", "waiting", "in_doubt", "failed", "cancelled", "replayed"), 0
    )
    for row in rows:
        if not row.get("old"):
            counts[row["status"]] += 1
            counts["replayed"] += bool(row.get("replays"))
    now = max(clock) + 2
    sessions: list[Any] = [[T0, first_end], [first_end + gap, None if status == "running" else now]]
    run = {
        "id": "01a213cb-466b-7301-a35f-4a4af8833df0", "name": "research", "status": status, "now": now, "created": T0,
        "updated": now, "sessions": sessions, "steps": count, "counts": counts, "cost": 0.41, "saved": 0.19,
        "calls": count // 5, "tokens": [812_000, 92_000, 0], "unpriced": 0, "notebook": "/home/ada/research.ipynb",
        "parent": {"id": "01a213aa-1111-7301-a35f-4a4af8833df0", "name": "research", "status": "failed", "at": 214, "step": "1.4"},
    }  # fmt: skip
    if status == "running":
        run["owner"] = "Jupyter kernel for research.ipynb (pid 4711 on ada)"
    names = [
        "main",
        "main/worker",
        "main/worker#1",
        "main/worker/fetch",
        "main/summarise",
        "main/summarise/chat",
    ]
    made = [
        {
            "id": k + 1,
            "parent": 0 if k == 0 else 1,
            "name": names[k] if k < len(names) else f"main/worker#{k}",
            "depth": 0 if k == 0 else 1,
        }
        for k in range(lanes)
    ]
    return {"v": 1, "feed": feed, "since": 0, "mark": 1, "run": run, "lanes": made, "rows": rows, "waits": []}


def waits() -> list[dict[str, Any]]:
    """One of every kind."""
    return [
        {
            "key": "approval:1.7", "kind": "approval", "step": "1.7", "prompt": "send_email wants to be approved",
            "actions": ["approve", "reject", "edit"], "value": {"to": "ada@example.org", "subject": "Leases", "copies": 1},
            "schema": {
                "type": "object", "required": ["to", "subject"],
                "properties": {
                    "to": {"type": "string", "description": "who gets it"}, "subject": {"type": "string"},
                    "copies": {"type": "integer", "minimum": 1, "maximum": 5, "default": 1},
                    "mode": {"anyOf": [{"enum": ["plain", "html"]}, {"type": "null"}], "default": None},
                },
            },
        },
        {
            "key": "ask:1.8", "kind": "ask", "step": None, "prompt": "Which of the two shall I read first?", "actions": ["answer"],
            "schema": {"enum": ["Leases", "Sagas"], "title": "Paper"},
        },
        {"key": "doubt:1.9:1", "kind": "doubt", "step": None, "prompt": "pay was cut off: it may or may not have happened. Did it?", "actions": ["retry", "supply", "fail"]},
    ]  # fmt: skip
