"""A process whose code and tools draw from the global generators. stdin: the recorded readings, and how many
steps have outcomes. stdout: what the code drew, the readings to record, how many tools ran.
"""

import json
import random
import sys

if "--numpy" in sys.argv:
    import numpy.random

from jupyter_durable.runtime.randoms import RandomWatch
from jupyter_durable.runtime.values import Values

asked = json.load(sys.stdin)
values, watch = Values(asked["values"]), RandomWatch()
journal, drawn, ran = [], [], 0


def draw():
    """What the notebook's code draws between its calls."""
    drawn.append([random.random(), random.gauss(0, 1), random.sample(range(10**6), 3)])
    if "--numpy" in sys.argv:
        drawn[-1] += [numpy.random.rand(), numpy.random.randn(), numpy.random.randint(10**6)]


def tool(pos):
    """Step 0 draws nothing, 1 a little, 2 a lot, 3 seeds, 4 leaves a second Gaussian behind."""
    if pos == 1:
        random.random()
    elif pos == 2:
        random.shuffle(list(range(5000)))
        if "--numpy" in sys.argv:
            numpy.random.rand(5000)
    elif pos == 3:
        random.seed(None)
    elif pos == 4:
        random.gauss(0, 1)
        if "--numpy" in sys.argv:
            numpy.random.randn()


watch.begin(values)
for pos in range(6):
    draw()
    if pos < asked["replay"]:
        watch.replayed(values, pos)
        continue
    token = watch.before_step()
    journal.append(values.drain())
    tool(pos)
    ran += 1
    watch.after_step(values, pos, token)
draw()
journal.append(values.drain())
json.dump({"drawn": drawn, "journal": journal, "ran": ran}, sys.stdout)
