"""A process that is a durable scope: reads everything that changes by itself, and says what it got.

stdin: the recorded readings as JSON. stdout: one JSON object with `got` (what the code read, typed),
`values` (what is to be recorded) and `left` (patches found after the end). Needs Python alone.
"""

import contextvars
import dataclasses
import datetime
import datetime as dt
import json
import os
import pickle
import random
import secrets
import sys
import time
import types
import uuid
from datetime import date
from datetime import datetime as moment
from os import urandom
from time import time as clock

from jupyter_durable.runtime.values import Patches, Values

right_now = datetime.datetime.now
local = datetime.timezone(datetime.timedelta(hours=2), "here")


class Stamp(datetime.datetime):
    """A subclass, as libraries make them."""


@dataclasses.dataclass
class Message:
    """Generated code of the notebook's own class."""

    id: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)
    at: datetime.datetime = dataclasses.field(default_factory=lambda: datetime.datetime.now(dt.UTC))


library = types.ModuleType("library")
exec("import time, uuid\ndef stamp(): return time.time()\ndef new_id(): return uuid.uuid4()", vars(library))
zmq = types.ModuleType("zmq.session")
exec("import uuid\ndef new_id(): return uuid.uuid4()", vars(zmq))


def agent():
    """Everything once, with the names a notebook would use."""
    made_here = {}
    exec("from time import time as late, monotonic\nvalue = late()", globals())
    yield from (time.time(), clock(), time.time_ns(), time.monotonic(), time.perf_counter_ns())
    yield from (time.localtime(), time.gmtime(), time.gmtime(None), time.gmtime(0))
    yield from (time.strftime("%Y-%m-%d %H:%M:%S %Z"), time.strftime("%Y", time.gmtime(0)))
    yield from (time.ctime(), time.asctime(), time.asctime(time.gmtime(0)), time.ctime(None))
    yield from (
        datetime.datetime.now(),
        dt.datetime.now(local),
        moment.now(tz=dt.UTC),
        right_now(),
    )
    yield from (
        moment.today(),
        date.today(),
        datetime.date.today(),
        Stamp.now(),
        Stamp.now(local),
        Stamp.today(),
    )
    yield from (uuid.uuid4(), uuid.uuid1(), uuid.uuid1(node=1), uuid.uuid5(uuid.NAMESPACE_DNS, "x"))
    yield from (
        secrets.token_hex(),
        secrets.token_urlsafe(5),
        secrets.choice(range(10**9)),
        secrets.randbelow(10**9),
    )
    yield from (os.urandom(8), urandom(3), random.SystemRandom().random(), random.Random().random())
    random.seed()
    yield random.random()
    yield Message()
    yield from (library.new_id(), made_here.setdefault("value", globals()["value"]))


def typed(value):
    """Enough to tell any two values apart that are not the same."""
    return [type(value).__name__, repr(value), getattr(value, "fold", None), getattr(value, "tm_zone", None)]


def patched():
    """What a run must leave exactly as it was."""
    here = {name: globals()[name] for name in ("clock", "urandom", "right_now", "moment", "date")}
    return {
        **{f"time.{name}": value for name, value in vars(time).items()},
        **{f"os.{name}": getattr(os, name) for name in ("urandom", "getrandom")},
        **{f"random.{name}": value for name, value in vars(random).items()},
        **{f"uuid.{name}": value for name, value in vars(uuid).items() if not name.startswith("_last")},
        **{f"datetime.{name}": value for name, value in vars(datetime.datetime).items()},
        **{f"date.{name}": value for name, value in vars(datetime.date).items()},
        **{f"Random.{name}": value for name, value in vars(random.Random).items()},
        "uuid1": uuid.uuid1.__code__,
        **here,
    }


current = contextvars.ContextVar("current", default=None)
told = []
patches = Patches(current.get, lambda names: names is globals(), told.append)
before = patched()
patches.install()
during = [name for name, value in patched().items() if before[name] is not value]
values = Values(json.load(sys.stdin))
token = current.set(values)
got = [typed(value) for value in agent()]
same_class = isinstance(moment.now(), datetime.datetime) and type(moment.now()) is datetime.datetime
pickled = (
    pickle.loads(pickle.dumps((time.time, datetime.datetime.now(), datetime.datetime)))[2]
    is datetime.datetime
)
library_read = library.stamp()
zmq.new_id()
current.reset(token)
outside = abs(time.time() - datetime.datetime.now().timestamp()) < 5
recorded = values.drain()
patches.remove()
left = [name for name, value in patched().items() if before.get(name) is not value]
left += [name for name in ("late", "monotonic") if type(globals()[name]) is not type(len)]
json.dump(
    {
        "got": got,
        "values": recorded,
        "left": left,
        "during": during,
        "told": told,
        "ok": [same_class, pickled, outside],
        "library": library_read,
        "version": sys.version_info[:2],
    },
    sys.stdout,
)
