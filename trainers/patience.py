"""Writing to a place that is full, or away, for a while: try again for ten minutes, then end with the reason."""

from collections.abc import Callable
from time import sleep

from trainers.world import World
from zoo.errors import IntegrityError

DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[60.0] * 9)
"""Seconds between two attempts, about ten minutes in all; counted, not clocked, so that all workers agree."""


def patiently(world: World, place: object, write: Callable[[], None]) -> None:
    """Let every worker call `write`, and all of them again while the first one, which has the disk, fails.

    All workers keep talking to each other meanwhile, so none is taken for dead. `write` may raise on the first worker
    only, after its last exchange with the others.

    Raises `IntegrityError`, naming `place`, where it never worked.
    """
    for delay in (*DELAYS, None):
        problem = world.shared_text(_attempt(write))
        if not problem:
            return
        if delay is None:
            raise IntegrityError(problem if str(place) in problem else f"{place} cannot be written: {problem}")
        sleep(delay)


def _attempt(write: Callable[[], None]) -> str:
    """What went wrong; nothing when all is well."""
    try:
        write()
    except (OSError, IntegrityError) as error:
        return str(error) or type(error).__name__
    return ""
