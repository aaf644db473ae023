"""Laws of the codec and the digest over generated values."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict, deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.codec.canonical import Canonical, canonical_text
from jupyter_durable.codec.display import difference, show
from jupyter_durable.codec.spine import groups, size

KEY = StoreKey(b"k" * 32)
CODEC = Codec(KEY, pickle="never")
CANONICAL = Canonical(b"k" * 32)

text = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["$", "v", "x" * 1500, '"$"']
)
hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | text
    | st.binary(max_size=8)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.complex_numbers(),
    lambda inner: st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    hashable
    | st.integers(0, 9).map(lambda n: bytes([n]) * (3000 + 1000 * n))
    | st.builds(bytearray, st.integers(400, 700)),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(text, inner, max_size=5)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(hashable, max_size=4)
        | st.builds(deque, st.lists(inner, max_size=3))
        | st.builds(OrderedDict, st.dictionaries(text, inner, max_size=3))
    ),
    max_leaves=25,
)


def trip(value: Any) -> Any:
    """Encode and decode."""

    payload = CODEC.encode(value, bind="run", has_chunk=lambda digest: False)
    stored = {chunk.digest: chunk for chunk in payload.chunks}
    return CODEC.decode(payload, bind="run", load=stored.__getitem__)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(values)
def test_every_value_comes_back(value: Any) -> None:
    """Type by type, content by content: the canonical texts tell nan from nan no more than people do."""
    back = trip(value)

    assert canonical_text(back) == canonical_text(value)
    assert type(back) is type(value)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(values)
def test_a_value_and_its_copy_have_one_digest(value: Any) -> None:
    """What comes back from the journal is recognised as the same argument, and differs nowhere."""
    back = trip(value)

    assert CANONICAL.digest(value) == CANONICAL.digest(back)
    assert CANONICAL.digest_call((value,), {"a": value}) == CANONICAL.digest_call((back,), {"a": back})
    assert difference({"a": value}, {"a": back}) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def _key(value: Any) -> Any:
    """A value that is equal exactly when type, content and the sign of zero are."""
    if isinstance(value, list):
        return ("list", tuple(map(_key, value)))
    if isinstance(value, dict):
        return ("dict", frozenset((name, _key(item)) for name, item in value.items()))
    return (type(value).__name__, repr(value))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(json_values, json_values)
def test_digests_are_equal_exactly_when_json_values_are(a: Any, b: Any) -> None:
    """Neither more nor less: dict order aside, any difference of type or content is a difference."""
    assert (CANONICAL.digest(a) == CANONICAL.digest(b)) == (_key(a) == _key(b))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.dictionaries(text, values, min_size=2, max_size=5), st.randoms())
def test_order_of_a_dict_never_matters(value: dict[str, Any], random: Any) -> None:
    """Shuffled keys, same digest."""
    items = list(value.items())
    random.shuffle(items)

    assert CANONICAL.digest(dict(items)) == CANONICAL.digest(value)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(values, st.integers(10, 300))
def test_show_keeps_its_limit(value: Any, limit: int) -> None:
    """One line, never longer, never an error."""
    line = show(value, limit)

    assert len(line) <= limit
    assert "\n" not in line


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab", max_size=400), max_size=80), st.integers(0, 80))
def test_groups_of_a_prefix_are_a_prefix_of_the_groups(items: list[str], cut: int) -> None:
    """The ground of linear growth: all closed groups of a prefix reappear in the longer list."""
    whole = [group for group, _ in groups(items)]
    prefix = [group for group, _ in groups(items[:cut])]

    assert [item for group in whole for item in group] == items
    assert prefix[:-1] == whole[: max(len(prefix) - 1, 0)]
    assert all(sum(map(size, group[:-1])) < 256 for group in whole)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["append", "pop", "edit", "front"]), st.integers(0, 2000)), max_size=25
    )
)
def test_any_history_of_a_list_decodes_from_what_was_stored(history: list[tuple[str, int]]) -> None:
    """Each version refers only to chunks that it brought or that were stored before."""
    stored: dict[bytes, Any] = {}
    messages: list[Any] = []
    payloads = []
    for what, n in history:
        item = {"role": "user", "content": f"{n} " * (n // 4)}
        if what == "append" or not messages:
            messages.append(item)
        elif what == "pop":
            messages.pop()
        elif what == "edit":
            messages[n % len(messages)] = item
        else:
            messages.insert(0, item)
        payload = CODEC.encode({"messages": messages}, bind="run", has_chunk=stored.__contains__)
        stored.update((chunk.digest, chunk) for chunk in payload.chunks)
        payloads.append((payload, list(messages)))

    for payload, expected in payloads:
        assert CODEC.decode(payload, bind="run", load=stored.__getitem__) == {"messages": expected}
