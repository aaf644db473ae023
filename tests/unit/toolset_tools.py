"""Functions that toolsets are made of: documented in every style, async, in pieces, broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field


class Place(BaseModel):
    """Where."""

    city: str
    country: str = "NL"


def forecast(
    place: Place,
    days: int = 1,
    unit: Literal["C", "F"] = "C",
    detail: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> dict[str, Any]:
    """Forecast the weather.

    Several lines
    of it.

    Args:
        place: where to look,
            on two lines
        days (int): how many days
        unit: of temperature

    Returns:
        What will be.
    """
    return {"city": place.city, "days": days, "unit": unit}


def numpy_style(schema: int, json: str = "x", **more: Any) -> str:
    """Sum up.

    Parameters
    ----------
    schema : int
        the first
    json : str, optional
        the second
        one

    Returns
    -------
    str
    """
    return f"{schema} {json} {more}"


def sphinx_style(a: int, b: int) -> int:
    """Add.

    :param a: the first
    :param int b: the second,
        continued
    :returns: the sum
    """
    return a + b


async def slow(text: str) -> str:
    """Wait."""
    await asyncio.sleep(0)
    return text.upper()


def letters(text: str) -> Iterator[str]:
    """Letter by letter."""
    yield from text


async def letters_later(text: str) -> AsyncIterator[str]:
    """Letter by letter, async."""
    for letter in text:
        yield letter


def broken(text: str) -> None:
    """Never works."""
    raise LookupError(f"no {text}")
