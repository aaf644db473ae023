"""Bytes grow with new information: growing lists, windows, strings, repeated parts, large buffers."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.codec.chunking import LazyChunks

KEY = StoreKey(b"k" * 32)


class Store:
    """Counts what a store would keep: bodies, references, chunks with their digests."""

    def __init__(self) -> None:
        self.codec = Codec(KEY)
        self.chunks: dict[bytes, Any] = {}
        self.bytes = 0
        self.asked = 0
        self.loaded = 0

    def has(self, digest: bytes) -> bool:
        self.asked += 1
        return digest in self.chunks

    def load(self, digest: bytes) -> Any:
        self.loaded += 1
        return self.chunks[digest]

    def put(self, value: Any, *, lossy: bool = False) -> Any:
        encode = self.codec.encode_lossy if lossy else self.codec.encode
        payload = encode(value, bind="run", has_chunk=self.has)
        self.bytes += len(payload.body) + 16 * len(payload.refs)
        for chunk in payload.chunks:
            assert all(ref in self.chunks for ref in chunk.refs), "a chunk comes after what it refers to"
            self.chunks[chunk.digest] = chunk
            self.bytes += len(chunk.data) + 16 * len(chunk.refs) + 16
        assert all(ref in self.chunks for ref in payload.refs)
        return payload._replace(chunks=())

    def get(self, payload: Any) -> Any:
        return self.codec.decode(payload, bind="run", load=self.load)


def message(turn: int, size: int, seed: int = 0) -> dict[str, Any]:
    """One turn of a conversation, the same in every run."""

    text = "".join(random.Random(f"{seed}/{turn}").choices("abcdefgh ijklmnop", k=size))
    return {"role": "user" if turn % 2 else "assistant", "content": text}


def grow(
    store: Store, turns: int, make: Callable[[list[Any]], Any], size: int, **options: Any
) -> tuple[int, Any]:
    """Store a conversation after each of its turns; the bytes of its messages and the last payload."""

    messages: list[Any] = []
    new = 0
    payload: Any = None
    for turn in range(turns):
        messages.append(message(turn, size))
        new += len(json.dumps(messages[-1]))
        payload = store.put(make(messages), **options)
    return new, payload


SHAPES: dict[str, Callable[[list[Any]], Any]] = {
    "list": lambda m: m,
    "in a dict": lambda m: {"messages": m, "model": "m-1", "temperature": 0.5},
    "deeper": lambda m: {"request": {"body": {"messages": m}}, "n": (1, 2)},
    "tuple": lambda m: (tuple(m), {"k": 1}),
}


@pytest.mark.slow
@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize(("shape", "turns"), [*((shape, 50) for shape in SHAPES), ("in a dict", 150)])
def test_conversation_stores_one_message_a_turn(shape: str, turns: int, lossy: bool) -> None:
    """References and digests included, at most a quarter more than the messages themselves, wherever the list is."""
    store = Store()
    make = SHAPES[shape]

    new, payload = grow(store, turns, make, 1100, lossy=lossy)

    assert store.bytes <= 1.25 * new
    assert store.get(payload) == make([message(turn, 1100) for turn in range(turns)])


@pytest.mark.slow
def test_growth_is_linear_to_800_turns() -> None:
    """The bytes per turn do not rise with the length of the conversation."""
    sizes = {}
    for turns in (50, 100, 200, 400, 800):
        store = Store()
        new, payload = grow(store, turns, SHAPES["in a dict"], 1000)
        sizes[turns] = store.bytes / turns
        assert store.bytes <= 1.25 * new

        store.loaded = 0
        assert len(store.get(payload)["messages"]) == turns
        assert store.loaded <= 3 * turns

    assert sizes[800] <= 1.1 * sizes[50]


@pytest.mark.slow
def test_decoding_a_long_list_walks_it_and_never_recurses() -> None:
    """Twenty thousand elements decode under a recursion limit of a few frames more than now, each as fast as of five thousand."""
    store = Store()
    value = [{"n": n, "text": f"row {n} " * 20} for n in range(20_000)]
    payload, quarter = store.put(value), store.put(value[:5000])
    import inspect

    def best(payload: Any) -> float:
        return min(timeit.repeat(lambda: store.get(payload), number=1, repeat=3))

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        back = store.get(payload)
        took, floor = best(payload), best(quarter)
    finally:
        sys.setrecursionlimit(limit)

    assert back == value
    assert took < 2 * 4 * floor


def test_asking_the_store_does_not_grow_with_the_conversation() -> None:
    """A turn asks about what is new, not about every message there ever was."""
    store = Store()
    messages = [message(turn, 1100) for turn in range(300)]
    store.put({"messages": messages})
    store.asked = 0

    store.put({"messages": [*messages, message(300, 1100)]})

    assert store.asked < 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda m: {"messages": m[-20:]}, 12),
        (lambda m: {"messages": [{"role": "system", "content": f"turn {len(m)}"}, *m]}, 20),
    ],
    ids=["sliding window", "system prompt that changes"],
)
def test_change_at_the_front_costs_a_segment_not_the_list(
    make: Callable[[list[Any]], Any], most: int
) -> None:
    """What a turn stores stays below a fixed number of messages, however long the list is."""
    costs = {}
    for turns in (40, 160):
        store = Store()
        new, _ = grow(store, turns, make, 700)
        costs[turns] = store.bytes / new

    assert costs[160] < most
    assert costs[160] < 2.5 * costs[40]


@pytest.mark.slow
def test_growing_string_stores_pieces() -> None:
    """A prompt built by appending stores a few kilobytes a turn, not itself again."""
    store = Store()
    prompt = ""
    new = 0
    for turn in range(150):
        prompt += message(turn, 1000)["content"]
        new += 1000
        payload = store.put({"prompt": prompt})

    assert store.bytes <= 5 * new
    assert store.get(payload) == {"prompt": prompt}


def test_result_passed_on_as_an_argument_is_stored_once() -> None:
    """A long text in a result and in the next call's arguments is one chunk."""
    store = Store()
    page = {"url": "u", "text": message(0, 6000)["content"]}
    store.put(page)
    before = store.bytes

    store.put({"args": [page], "kwargs": {"n": 1}}, lossy=True)

    assert store.bytes - before < 300


def test_chunk_digest_is_the_store_keys_mac() -> None:
    """The store verifies chunks by `StoreKey.mac("blob", data, *refs)`."""
    store = Store()
    store.put({"messages": [message(turn, 1100) for turn in range(30)]})

    assert len(store.chunks) > 30
    for digest, chunk in store.chunks.items():
        assert digest == KEY.mac("blob", chunk.data, *chunk.refs)


def test_encoding_while_the_previous_payload_is_not_stored_yet_is_self_contained() -> None:
    """Nothing is remembered: a payload whose transaction failed leaves no reference to what was never stored."""
    codec = Codec(KEY)
    messages = [message(turn, 1100) for turn in range(20)]
    codec.encode(messages, bind="run", has_chunk=lambda digest: False)  # lost

    store = Store()
    payload = store.put([*messages, message(20, 1100)])

    assert len(store.get(payload)) == 21


def test_identical_pieces_of_large_bytes_are_one_chunk() -> None:
    """Eight megabytes of zeros are one megabyte."""
    store = Store()
    array = np.zeros(8 << 20, np.uint8)

    payload = store.put(array)

    assert store.bytes < 1.1 * (1 << 20)
    assert np.array_equal(store.get(payload), array)


@pytest.mark.slow
def test_large_array_is_split_and_chunks_can_be_read_twice() -> None:
    """The lazy chunks of a large payload are a sequence: a retried transaction reads them again."""
    codec = Codec(KEY)
    data = random.Random(1).randbytes(12 << 20)

    payload = codec.encode(data, bind="run", has_chunk=lambda digest: False)

    assert isinstance(payload.chunks, LazyChunks)
    assert max(len(chunk.data) for chunk in payload.chunks) <= 4 << 20
    assert [chunk.digest for chunk in payload.chunks] == [chunk.digest for chunk in payload.chunks]
    assert all(type(chunk.data) is bytes for chunk in payload.chunks)
    assert payload.chunks[0] == next(iter(payload.chunks))
    stored = {chunk.digest: chunk for chunk in payload.chunks}
    assert codec.decode(payload, bind="run", load=stored.__getitem__) == data


def test_array_changed_after_encoding_is_stored_as_it_was() -> None:
    """Chunks of a mutable buffer are snapshots: what is committed later matches its digest."""
    store = Store()
    array = np.arange(3 << 20, dtype=np.uint8)
    payload = store.codec.encode(array, bind="run", has_chunk=store.has)
    array[:] = 0

    stored = {chunk.digest: chunk for chunk in payload.chunks}

    assert all(KEY.mac("blob", chunk.data, *chunk.refs) == digest for digest, chunk in stored.items())
    assert store.codec.decode(payload, bind="run", load=stored.__getitem__).any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bytes", "array"])
def test_300_megabytes_take_about_two_copies(kind: str) -> None:
    """Peak memory of encode and decode of a 300 MB payload stays below 2.4 copies besides the interpreter."""
    code = f"""
        import resource, numpy as np
        from jupyter_durable.codec import Codec, StoreKey
        codec = Codec(StoreKey(b"k" * 32))
        size = 300 << 20
        codec.encode(np.zeros(10), bind="r", has_chunk=lambda d: False)
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if {kind!r} == "bytes":
            value = np.random.default_rng(1).bytes(size)
        else:
            value = np.random.default_rng(1).integers(0, 255, size, dtype=np.uint8)
        import tempfile, pathlib
        from jupyter_durable.model import Chunk
        folder = pathlib.Path(tempfile.mkdtemp())
        payload = codec.encode(value, bind="r", has_chunk=lambda d: False)
        refs = {{}}
        for chunk in payload.chunks:
            (folder / chunk.digest.hex()).write_bytes(chunk.data)
            refs[chunk.digest] = chunk.refs
        payload = payload._replace(chunks=())
        encoded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
        check = hash(value[-1000:].tobytes() if {kind!r} == "array" else value[-1000:])
        del value, chunk
        def load(digest): return Chunk(digest, (folder / digest.hex()).read_bytes(), refs[digest])
        back = codec.decode(payload, bind="r", load=load)
        assert hash(back[-1000:].tobytes() if {kind!r} == "array" else back[-1000:]) == check and len(back) == size
        decoded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
        import shutil; shutil.rmtree(folder)
        print(encoded * 1024 / size, decoded * 1024 / size)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    encoded, decoded = map(float, done.stdout.split())

    assert encoded < 2.4
    assert decoded < 2.4
