"""`python mixed.py STORE LINES`: 30 mixed calls as one durable run, each of which leaves a line outside; prints the result.

Started again and again by the tests, and killed in between.
"""

# ruff: noqa: D103

from __future__ import annotations

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jupyter_durable as durable
from jupyter_durable.runtime.kill_points import arm_from_environment

STORE, LINES = sys.argv[1:3]


def note(label: str) -> int:
    """Leave a line; how many this step has left so far, in whatever process."""
    line = json.dumps([durable.idempotency_key(), label]) + "\n"
    file = os.open(LINES, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())  # in one piece, whatever kills this process next
    left = os.pread(file, 1 << 20, 0).count(line.encode())
    os.close(file)
    return left


@durable.tool
async def fetch(what: str) -> str:
    note(f"fetch {what}")
    await asyncio.sleep(0.003)
    return f"page {what}"


@durable.tool
def crunch(number: int) -> int:
    note(f"crunch {number}")
    return number * number


@durable.tool
async def fails(what: str) -> None:
    note(f"fails {what}")
    await asyncio.sleep(0.001)
    raise ValueError(f"no {what}")


@durable.tool
async def survey(what: str) -> list[str]:
    note(f"survey {what}")
    first = await fetch(f"{what}/1")
    return [first, *await asyncio.gather(fetch(f"{what}/2"), fetch(f"{what}/3"))]


@durable.tool(retries=2, backoff=0.001)
async def flaky(what: str) -> str:
    if note(f"flaky {what}") % 2:
        raise ConnectionError("try again")
    return f"flaky {what}"


@durable.tool
async def pages(count: int) -> Any:
    note(f"pages {count}")
    for number in range(count):
        await asyncio.sleep(0.001)
        yield f"page {number}"


async def branch(name: str) -> list[Any]:
    page = await fetch(name)
    try:
        await fails(name)
    except ValueError as error:
        return [page, str(error), crunch(len(name))]
    return []


@durable.run("mixed", store=STORE)
async def main() -> list[Any]:
    found: list[Any] = [await fetch(str(number)) for number in range(5)]
    found += await asyncio.gather(*(fetch(f"g{number}") for number in range(4)))
    found.append(await survey("nested"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(branch(name)) for name in ("a", "bb")]
    found += [task.result() for task in tasks]
    found += await asyncio.gather(*(asyncio.to_thread(crunch, number) for number in (10, 11)))
    with ThreadPoolExecutor(2) as pool:
        found += [future.result() for future in [pool.submit(crunch, number) for number in (20, 21)]]
    found += await asyncio.gather(*(fetch("same") for _ in range(3)))
    found.append([page async for page in pages(3)])
    found.append(await flaky("once"))
    try:
        async with asyncio.timeout(5):
            found.append(await fetch("in time"))
            raise LookupError("given up")
    except LookupError as error:
        found.append([str(error), await fetch("instead")])
    return found


arm_from_environment()
print(json.dumps(asyncio.run(main())))
