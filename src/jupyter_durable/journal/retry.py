"""Attempt + error → a delay, or stop. The strategies are tenacity's; only the journaling is ours."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Backoff = float | Callable[[Any], float]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` further attempts after the first, for errors that are one of `on`.

    `backoff` is the first delay in seconds, doubled each time up to `limit`, with jitter; or any
    tenacity wait strategy (`tenacity.wait_fixed(3)`), or a function of the number of failed attempts.

    >>> RetryPolicy(retries=2, backoff=lambda n: n * 10.0).delay(1, ValueError())
    10.0
    >>> RetryPolicy(retries=2).delay(3, ValueError()) is None
    True
    """

    retries: int = 0
    backoff: Backoff = 0.5
    limit: float = 60.0
    on: tuple[type[BaseException], ...] = (Exception,)

    def delay(self, failures: int, error: BaseException) -> float | None:
        """Seconds to wait after the `failures`-th failed attempt; None: give up."""
        if failures > self.retries or not isinstance(error, self.on):
            return None
        import tenacity  # here: only a failing tool pays for the import

        if isinstance(self.backoff, int | float):
            wait: Any = tenacity.wait_exponential(multiplier=self.backoff, max=self.limit)
            wait += tenacity.wait_random(0, self.backoff / 2)
        elif isinstance(self.backoff, tenacity.wait.wait_base):
            wait = self.backoff
        else:
            return float(self.backoff(failures))
        state = tenacity.RetryCallState(None, None, (), {})
        state.attempt_number = failures
        # tenacity draws its jitter from the generator that is the user's.
        before = random.getstate()
        try:
            return float(wait(state))
        finally:
            random.setstate(before)
