"""How long a lease is."""

from __future__ import annotations

import time

import pytest
from runs import Bench

from jupyter_durable.errors import DurableError
from jupyter_durable.runtime.heartbeat import VARIABLE, ttl


def test_a_lease_is_as_long_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """`JUPYTER_DURABLE_LEASE` is seconds; nothing means 30."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert ttl() == 30.0
    monkeypatch.setenv(VARIABLE, " ")
    assert ttl() == 30.0
    monkeypatch.setenv(VARIABLE, "600")
    bench = Bench()
    before = time.time()
    run = bench.session.new("run")
    assert bench.record.expires_at >= before + 600
    bench.session.close_run(run, None)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_what_is_no_lease_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no run is begun."""
    monkeypatch.setenv(VARIABLE, text)
    bench = Bench()
    with pytest.raises(DurableError, match="is no lease") as refused:
        bench.session.new("run")
    assert "seconds" in refused.value.hint
    assert bench.store.runs() == []
