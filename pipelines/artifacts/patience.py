"""Waiting for what comes back by itself: a full disk, a shared folder or a registry that is away."""

import errno
import logging
from collections.abc import Callable
from time import sleep
from typing import TypeVar

from trainers.patience import DELAYS
from zoo.errors import DiskFullError

T = TypeVar("T")
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN)
_log = logging.getLogger(__name__)


def is_passing(error: Exception) -> bool:
    """Whether a file system may get over it: it is full or away, and not of another shape than we think."""
    return isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in _PASSING)


def keep_trying(action: Callable[[], T], passing: Callable[[Exception], bool]) -> T:
    """What `action` returns; while it raises what is `passing` it is called again, for ten minutes at most."""
    for delay in DELAYS:
        try:
            return action()
        except Exception as error:
            if not passing(error):
                raise
            _log.warning("%s; tried again in %g s", error, delay)
            sleep(delay)
    return action()
