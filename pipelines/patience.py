"""Waiting for what comes back by itself: a full disk, a shared folder or a registry that is away."""

import logging
from collections.abc import Callable
from time import sleep
from typing import TypeVar

from trainers.patience import DELAYS

T = TypeVar("T")
_log = logging.getLogger(__name__)


def keep_trying(action: Callable[[], T], *away: type[Exception]) -> T:
    """What `action` returns; while it raises one of `away` it is called again, for ten minutes at most."""
    for delay in DELAYS:
        try:
            return action()
        except away as error:
            _log.warning("%s; tried again in %g s", error, delay)
            sleep(delay)
    return action()
