"""The composition root: a store, a codec and a clock become runs.

opening   Session: runs of this process, opened, resumed, forked, replayed, closed
blocks    durable.run: a function or a block as a run, outside notebooks
reading   Store: what other processes see of runs, and decide about them
deciding  what people say about waits, as rows
results   what a run came to in the end, kept for tests
"""

from jupyter_durable.session.blocks import run
from jupyter_durable.session.opening import Session
from jupyter_durable.session.reading import Store, open_store, send

__all__ = ["Session", "Store", "open_store", "run", "send"]
