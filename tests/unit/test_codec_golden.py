"""What a released version wrote, every later one reads: one stored text for every tag, never to be edited."""

from __future__ import annotations

import datetime as dt
import ipaddress
import pathlib
import re
import types
import uuid
import zoneinfo
from binascii import a2b_base64
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pydantic
import pytest

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.codec.kinds import BY_TAG, Omitted
from jupyter_durable.model import Chunk, Payload

CODEC = Codec(StoreKey(b"k" * 32))

STORED: list[tuple[str, str, Any]] = [
    ("json1", '{"a":[1,2.5,null,true,"ž"]}', {"a": [1, 2.5, None, True, "ž"]}),
    ("bytes1", "raw", b"raw"),
    ("tree1", '{"$":"tuple","v":[1,{"$":"map","v":[1,"a",{"$":"tuple","v":[]},2]}]}', (1, {1: "a", (): 2})),
    ("tree1", '[{"$":"&","n":0,"v":[1]},{"$":"=","n":0}]', [[1], [1]]),
    ("tree1", '{"$":"int","v":"-0x10"}', -16),
    ("tree1", '{"$":"complex","v":[0.0,1.0]}', 1j),
    ("tree1", '{"$":"range","v":[0,3,1]}', range(3)),
    ("tree1", '{"$":"slice","v":[1,2,null]}', slice(1, 2)),
    ("tree1", '[{"$":"ellipsis","v":0},{"$":"notimplemented","v":0}]', [..., NotImplemented]),
    ("tree1", '{"$":"bytes","v":{"$":"raw","v":"eQ=="}}', b"y"),
    ("tree1", '{"$":"bytearray","v":{"$":"raw","v":"eQ=="}}', bytearray(b"y")),
    ("tree1", '[{"$":"set","v":[1]},{"$":"frozenset","v":["a"]}]', [{1}, frozenset("a")]),
    ("tree1", '{"$":"datetime","v":["2026-10-25T02:30:00",{"$":"zoneinfo","v":"Europe/Prague"},1]}',
     dt.datetime(2026, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Prague"), fold=1)),
    ("tree1", '{"$":"time","v":["01:02:00",{"$":"timezone","v":[{"$":"timedelta","v":[0,7200,0]},"x"]},0]}',
     dt.time(1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2), "x"))),
    ("tree1", '{"$":"date","v":"2026-01-02"}', dt.date(2026, 1, 2)),
    ("tree1", '[{"$":"decimal","v":"1.10"},{"$":"fraction","v":[1,3]}]', [Decimal("1.10"), Fraction(1, 3)]),
    ("tree1", '{"$":"uuid","v":"00000000000000000000000000000005"}', uuid.UUID(int=5)),
    ("tree1", '{"$":"path","v":["PurePosixPath","/a/b"]}', pathlib.PurePosixPath("/a/b")),
    ("tree1", '{"$":"pattern","v":["a+",34]}', re.compile("a+", re.IGNORECASE)),
    ("tree1", '{"$":"ip","v":["IPv4Network","10.0.0.0/8"]}', ipaddress.ip_network("10.0.0.0/8")),
    ("tree1", '{"$":"deque","v":[3,1,2]}', deque([1, 2], 3)),
    ("tree1", '{"$":"defaultdict","v":[{"$":"ref","v":"builtins:list"},1,[2]]}', defaultdict(list, {1: [2]})),
    ("tree1", '[{"$":"ordereddict","v":["b",1]},{"$":"counter","v":["a",2]}]', [OrderedDict(b=1), Counter(a=2)]),
    ("tree1", '{"$":"mappingproxy","v":[{"a":1}]}', types.MappingProxyType({"a": 1})),
    ("tree1", '{"$":"namespace","v":{"a":1}}', types.SimpleNamespace(a=1)),
    ("tree1", '{"$":"omitted","v":"Lock"}', Omitted("Lock")),
    ("tree1", '{"$":"enum","t":"http:HTTPStatus","v":"OK"}', __import__("http").HTTPStatus.OK),
    ("tree1", '{"$":"obj","t":"fractions:Fraction","v":{"z":{"_numerator":1,"_denominator":2}}}', Fraction(1, 2)),
    ("tree1", '{"$":"model","t":"pydantic:RootModel","v":{"f":{"root":3}}}', pydantic.RootModel.model_construct(root=3)),
    ("tree1", '{"$":"generic","v":[{"$":"ref","v":"builtins:list"},{"$":"tuple","v":[{"$":"ref","v":"builtins:int"}]}]}', list[int]),
    ("tree1", '[{"$":"sealed","v":"T/GFk6w3IzlriE059BoY7ZOoH1jKD9nKRcyAKISq22LBHk2Fh3dyq9iBRLJcRaTQQapdai9kcPCd+hjfLJFi6MewzjYA"}]',
     [pydantic.SecretStr("s")]),
    ("tree1", '{"$":"nd","v":{"t":"<i2","s":[2],"b":{"$":"raw","v":"AQACAA=="}}}', np.array([1, 2], "i2")),
    ("tree1", '{"$":"nd","v":{"o":[null,[1]],"s":[2]}}', np.array([None, [1]], object)),
    ("tree1", '{"$":"npscalar","v":["<i2",{"$":"bytes","v":{"$":"raw","v":"AQA="}}]}', np.int16(1)),
]  # fmt: skip


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and a.tolist() == b.tolist()
    return type(a) is type(b) and bool(a == b)


@pytest.mark.parametrize(("codec", "text", "value"), STORED, ids=lambda part: str(part)[:30])
def test_stored_text_still_decodes(codec: str, text: str, value: Any) -> None:
    """To the value it was written for."""
    back = CODEC.decode(
        Payload(codec, text.encode()), bind="run", load=lambda digest: pytest.fail("no chunks")
    )

    assert _same(back, value)


def test_stored_error_still_decodes() -> None:
    """With every part an error can have."""
    text = (
        '{"$":"error","t":"builtins:OSError","v":{"a":[2,"gone"],"d":{"__notes__":["n"]},"c":{"errno":2,"filename":"f"},'
        '"cause":{"$":"error","t":"builtins:KeyError","v":{"a":["k"]}},"suppress":true,"tb":[["/a.py","f",3,"raise"]]}}'
    )
    back = CODEC.decode(
        Payload("tree1", text.encode()), bind="run", load=lambda digest: pytest.fail("no chunks")
    )

    assert (type(back), back.args, back.errno, back.filename) == (OSError, (2, "gone"), 2, "f")
    assert back.__notes__ == ["n"]
    assert back.__cause__.args == ("k",)
    assert back.__suppress_context__
    assert back.__traceback__.tb_frame.f_code.co_filename == "/a.py"
    assert back.__traceback__.tb_lineno == 3


def test_stored_group_still_decodes() -> None:
    """Members are made first."""
    text = (
        '{"$":"error","t":"builtins:ExceptionGroup","v":{"a":["g"],'
        '"m":[{"$":"error","t":"builtins:ValueError","v":{"a":[1]}}]}}'
    )
    back = CODEC.decode(
        Payload("tree1", text.encode()), bind="run", load=lambda digest: pytest.fail("no chunks")
    )

    assert (back.message, back.exceptions[0].args) == ("g", (1,))


def test_stored_chunks_still_decode() -> None:
    """A linked list of two levels, a long string, bytes in pieces, a part in a chunk."""
    names = {
        name: name.encode().ljust(16, b".") for name in ("n1", "n2", "n3", "up", "text", "p1", "p2", "part")
    }
    chunks = {
        "n1": ("[1,2]", ()),
        "n2": ("0[3]", ("n1",)),
        "n3": ("[4]", ()),
        "up": ("", ("n2",)),
        "text": ("long", ()),
        "p1": ("ab", ()),
        "p2": ("cd", ()),
        "part": ('{"k":{"$":"s","i":0}}', ("text",)),
    }
    stored = {
        names[name]: Chunk(names[name], data.encode(), tuple(names[ref] for ref in refs))
        for name, (data, refs) in chunks.items()
    }
    text = (
        '{"list":{"$":"list","l":[0,1]},"tuple":{"$":"tuple","l":[0,null]},"s":{"$":"s","i":2},'
        '"str":{"$":"str","v":[{"$":"r","i":3},{"$":"r","i":4}]},"part":{"$":"@","i":5},'
        '"bytes":{"$":"bytes","v":{"$":"raw","v":[{"$":"r","i":3},{"$":"r","i":4},{"$":"r","i":3}]}}}'
    )
    refs = tuple(names[name] for name in ("n3", "up", "text", "p1", "p2", "part"))
    back = CODEC.decode(Payload("tree1", text.encode(), refs), bind="run", load=stored.__getitem__)

    assert back == {
        "list": [1, 2, 3, 4],
        "tuple": (4,),
        "s": "long",
        "str": "abcd",
        "part": {"k": "long"},
        "bytes": b"abcdab",
    }


def test_stored_pickle_still_decodes() -> None:
    """A signed payload, with its signature as it was made then."""
    body = (
        bytes.fromhex("414d6f828c7b59652a066b5b46ede286")
        + b'{"$":"pickle","v":[{"$":"raw","v":"gASVIAAAAAAAAACMCGJ1aWx0aW5zlIwFcmFuZ2WUk5RLAEsDSwGHlFKULg=="}]}'
    )
    back = CODEC.decode(Payload("signed1", body), bind="run", load=lambda digest: pytest.fail("no chunks"))

    assert back == range(3)


@pytest.mark.parametrize(
    ("codec", "body", "value"),
    [
        (
            "tree1",
            b'[{"$":"mix","v":["a ","kcBM/Gde646zfDEqx3pOgZ0ZrcQBSUGP1e2lz638cekmmx8Xsm0R"," b"]}]',
            ["a sk-ABCDEFGHIJ1234567890 b"],
        ),
        (
            "tree1",
            b'[{"$":"bytes","v":{"$":"sraw","v":"Fxa8Nt8Zi9tUe3X6ejMYB1bcXsKiYBmon/XYe2VEYOmGUkHUC8cwA7yWbh0="}}]',
            [b"a sk-ABCDEFGHIJ1234567890 b"],
        ),
        ("sealed1", a2b_base64("7nmCjqWp85/AXBek4ofhPUT125u7WH+aleKbsRjFW2Q="), {"a": [1]}),
        ("sealed1", a2b_base64("lxHRWuLy2P1yXimFgfmIdRmDUtthUG3fl58VBms7BzA="), "x" * 300),
    ],
)
def test_sealed_values_still_decode(codec: str, body: bytes, value: Any) -> None:
    """What was encrypted then, with this key and for this run."""
    payload = Payload(codec, body)
    assert CODEC.decode(payload, bind="run", load=lambda digest: pytest.fail("no chunks")) == value


def test_every_tag_has_a_stored_text() -> None:
    """A new kind comes with its golden text."""
    CODEC.encode([np.arange(1), pydantic.SecretStr("x")], bind="run", has_chunk=lambda digest: False)
    texts = "".join(text for _, text, _ in STORED)
    elsewhere = {
        "error",
        "secret",
        "pandas",
        "pandas.scalar",
        "polars",
    }  # above; sealed; need their libraries

    assert {tag for tag in BY_TAG if f'"{tag}"' not in texts} <= elsewhere
