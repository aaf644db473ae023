"""Outside a durable run nothing is patched that a user could notice: the same objects, the same tracebacks."""

from __future__ import annotations

import asyncio
import sys
import traceback
import types
from collections.abc import Iterator
from typing import Any

import pytest
from runs import Bench
from sdks import SDKS, Sdk

from jupyter_durable.testing import FakeProvider, call, fault, reply

_CALLABLE = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    type,
    classmethod,
    staticmethod,
    property,
)
SCRIPT = [reply(tool_calls=[call("search", q="leases")]), reply("A lease is a lock that expires.")]


def behaviour() -> dict[tuple[str, ...], Any]:
    """Every function, method and class of every module that is not ours."""
    found: dict[tuple[str, ...], Any] = {}
    for name, module in sys.modules.copy().items():  # other threads import
        if name.partition(".")[0] in ("jupyter_durable", "_pytest", "pytest") or not isinstance(
            module, types.ModuleType
        ):
            continue
        for attribute, value in list(vars(module).items()):
            if not isinstance(value, _CALLABLE):
                continue
            found[name, attribute] = value
            if isinstance(value, type):
                found.update(
                    ((name, attribute, inner), held)
                    for inner, held in list(vars(value).items())
                    if isinstance(held, _CALLABLE)
                )
    return found


@pytest.fixture(params=SDKS, ids=lambda sdk: sdk.name)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """Each SDK that is installed."""
    if not request.param.available():
        pytest.skip(f"{request.param.module} is not installed")
    return request.param


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """Two turns, one tool call."""
    with FakeProvider(SCRIPT) as running:
        yield running


def _everything(sdk: Sdk, provider: FakeProvider) -> None:
    sdk.agent(provider)
    if sdk.has_async:
        asyncio.run(sdk.agent_async(provider))


@pytest.mark.slow
def test_after_a_run_everything_is_the_object_that_it_was(sdk: Sdk, provider: FakeProvider) -> None:
    """Of the SDK, its transports, the standard library: while a run is live some are ours, and none before and after."""
    _everything(sdk, provider)  # what libraries do to themselves at their first call is done
    before = behaviour()
    during: dict[tuple[str, ...], Any] = {}

    def agent() -> None:
        sdk.agent(provider)
        during.update(behaviour())

    bench = Bench()
    bench.new(agent)
    assert [step.kind for step in bench.steps()] == ["model", "model"]
    assert any(during.get(name) is not value for name, value in before.items()), (
        "it looks in the wrong places"
    )
    after = behaviour()
    assert [name for name, value in before.items() if after.get(name) is not value] == []


def test_an_error_outside_a_run_has_no_frame_of_ours(sdk: Sdk, provider: FakeProvider) -> None:
    """Also after a run, in which it went through us."""
    Bench().new(lambda: sdk.agent(provider))
    provider.script = fault(400, "no")
    with pytest.raises(sdk.refusal()) as raised:
        sdk.agent(provider)
    frames = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert not [name for name in frames if "jupyter_durable" in name]
