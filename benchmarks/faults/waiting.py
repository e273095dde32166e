"""Waiting on conditions, each with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_SECONDS = 0.1

T = TypeVar("T")


class GaveUpError(AssertionError):
    """What was waited for did not happen in time, or cannot happen any more."""


def until(condition: Callable[[], T], what: str, seconds: float, hopeless: Callable[[], str | None] | None = None) -> T:
    """The first true value of `condition()`.

    Raises `GaveUpError` after `seconds`, and as soon as `hopeless()` says why it will never come.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if reason := hopeless and hopeless():
            raise GaveUpError(f"{what}: {reason}")
        if time.monotonic() > deadline:
            raise GaveUpError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    return value
