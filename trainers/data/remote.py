"""Files behind an address: whatever fsspec opens (HTTP, S3, ...), with patience for what passes.

Credentials come from where the protocol looks for them (the environment, `~/.aws`, `FSSPEC_*`), never from an address.
"""

import errno
import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from zoo.errors import BadInputError, NotFoundError, ZooError
from zoo.files import full_disk_is_an_integrity_error, home

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

T = TypeVar("T")

QUICK = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
PATIENT = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0)
"""Seconds before each new attempt: for what somebody waits for; for a store that may be away for minutes."""

_CHUNK = 1 << 20
_PASSING = {408, 425, 429}  # of the 4xx: asked too early, too often, too slowly
_log = logging.getLogger(__name__)


class AwayError(NotFoundError):
    """A store did not answer, however often it was asked, or refused to: what is there is not known."""


@dataclass(frozen=True)
class Remote:
    """A folder behind an address, such as `s3://bucket/folder`."""

    url: str

    def read(self, name: str) -> bytes:
        """A small file. Raises `NotFoundError`, `AwayError`."""
        content = self._patiently(name, QUICK, lambda: self._system.cat_file(self._path(name)))
        assert isinstance(content, bytes)
        return content

    def download(self, name: str, file: IO[bytes]) -> str:
        """Copy a file into `file`, from its start again after what passes; give its SHA-256 (hex).

        Raises `NotFoundError`, `AwayError`.
        """
        return self._patiently(name, PATIENT, lambda: self._copy(name, file))

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """A file as it is there now, in a temporary one. Raises `NotFoundError`, `AwayError`."""
        folder = home() / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        with full_disk_is_an_integrity_error(folder), NamedTemporaryFile(dir=folder, prefix=".fetched.") as file:
            self.download(name, file)
            file.flush()
            yield Path(file.name)

    def names(self) -> list[str] | None:
        """The names of the files in the folder; None where the protocol has no listing (HTTP)."""
        if self._is_http:
            return None
        found = self._patiently("", QUICK, lambda: self._system.ls(self._root, detail=False))
        return [path.rstrip("/").rpartition("/")[2] for path in found]

    def place(self, name: str) -> str:
        """The address of a file."""
        return f"{self.url.rstrip('/')}/{name}"

    def _copy(self, name: str, file: IO[bytes]) -> str:
        digest = hashlib.sha256()
        file.seek(0)
        options: dict[str, Any] = {"block_size": 0} if self._is_http else {}  # one stream: not all servers know ranges
        with cast("IO[bytes]", self._system.open(self._path(name), "rb", **options)) as source:
            while chunk := source.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
        file.truncate()
        return digest.hexdigest()

    def _patiently(self, name: str, delays: tuple[float, ...], work: Callable[[], T]) -> T:
        place = self.place(name)
        for delay in (*delays, None):
            try:
                return work()
            except FileNotFoundError as error:
                raise NotFoundError(f"{place} is not there") from error
            except ZooError:
                raise
            except Exception as error:  # every protocol has its own library, and that its own errors
                if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise  # of this machine
                told = f"{place}: {type(error).__name__}: {error}"
                if _is_refusal(error):
                    hint = "credentials come from the environment of the process"
                    raise AwayError(f"{told} (access refused; {hint})") from error
                if delay is None:
                    raise AwayError(f"{told} (after {len(delays) + 1} attempts in {sum(delays):.0f} s)") from error
                _log.warning("%s; trying again in %g s", told, delay)
                time.sleep(delay)
        raise AssertionError

    @property
    def _is_http(self) -> bool:
        return self.url.startswith(("http://", "https://"))

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @property
    def _system(self) -> "AbstractFileSystem":
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    @cached_property
    def _opened(self) -> "tuple[AbstractFileSystem, str]":
        from fsspec.core import url_to_fs

        try:
            options = _http_options() if self._is_http else {}
            return url_to_fs(self.url, use_listings_cache=False, **options)
        except ImportError as error:
            hint = "; pip install 'learngene-zoo[s3]'" if self.url.startswith("s3") else ""
            raise BadInputError(f"data.path: {self.url}: {error}{hint}") from error
        except ValueError as error:  # the protocol is not known
            raise BadInputError(f"data.path: {self.url}: {error}") from error


def _http_options() -> dict[str, Any]:
    from aiohttp import ClientTimeout

    client = {
        # aiohttp's own limit is 5 minutes for a whole file; what counts is that something arrives.
        "timeout": ClientTimeout(total=None, sock_connect=30, sock_read=60),
        "trust_env": True,  # proxies
        # Some servers call a `.tar.gz` an encoding: the digest is of the file as it is.
        "auto_decompress": False,
        "headers": {"Accept-Encoding": "identity"},
    }
    return {"client_kwargs": client}


def _is_refusal(error: Exception) -> bool:
    status = getattr(error, "status", 0)  # aiohttp's
    return isinstance(error, PermissionError) or (400 <= status < 500 and status not in _PASSING)
