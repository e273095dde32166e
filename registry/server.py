"""Which MLflow this user talks to, and how: `connect()`. Whatever fails in there becomes a `ZooError`.

`MLFLOW_TRACKING_URI` names a server (http, https) or an SQLite file; without it there is one SQLite file
under `zoo.files.home()`. Other databases belong behind a server.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from zoo.errors import BadInputError, IntegrityError, NotFoundError, ZooError
from zoo.files import home

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
PROBE_SECONDS = 3  # one try; there are two before a server counts as unreachable


class RegistryAwayError(NotFoundError):
    """The server does not answer: now, or at all."""


def tracking_uri() -> str:
    """The MLflow of this user. Raises `BadInputError` if `MLFLOW_TRACKING_URI` is not legal."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{home() / 'registry.db'}"
    # a relative SQLite path would be another database in every working directory
    if not re.match(r"https?://[^/]|sqlite:////[^/]", uri):
        raise BadInputError(
            f"MLFLOW_TRACKING_URI: {without_credentials(uri)!r} is not legal; legal are http://HOST[:PORT], "
            f"https://HOST[:PORT] and sqlite:////ABSOLUTE/PATH (four slashes)"
        )
    return uri


def artifacts() -> str | None:
    """Where reports go that stand beside an SQLite file; a server has a place of its own (None).

    MLflow's own default is `mlruns` in whatever working directory.
    """
    uri = tracking_uri()
    if not uri.startswith(SQLITE):
        return None
    database = Path(uri.removeprefix(SQLITE))
    return database.with_name(f"{database.stem}-artifacts").as_uri()


def without_credentials(text: str) -> str:
    """`text` with `user:password@` taken out of every address in it, fit for a message or a log."""
    return re.sub(r"//[^/@\s]*@", "//", text)


@contextmanager
def connect() -> Iterator["MlflowClient"]:
    """Yield a client for the registry; MLflow's errors in the block become `ZooError`s without credentials.

    A server that does not answer is a `RegistryAwayError` within seconds, where MLflow would retry for minutes.
    """
    uri = tracking_uri()
    _quieten()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        if uri.startswith(SQLITE):
            _migrate(uri)
        else:
            _probe(uri)
        yield MlflowClient(uri, registry_uri=uri)
    except MlflowException as error:
        message = without_credentials(str(error))
        raise ZooError(f"the registry {without_credentials(uri)} refused: {message}") from None


@contextmanager
def lock() -> Iterator[None]:
    """One writer at a time among the processes that share the SQLite file (with a server: this home)."""
    with FileLock(_lock_path(tracking_uri())):
        yield


def unless_there(create: Callable[[], object]) -> None:
    """Create something that another process may have created meanwhile."""
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _lock_path(uri: str) -> Path:
    database = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else home() / "registry"
    database.parent.mkdir(parents=True, exist_ok=True)
    return database.with_name(f"{database.name}.lock")


def _quieten() -> None:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it warns at every retry


@cache
def _migrate(uri: str) -> None:
    """Make the SQLite file with its tables, once: processes that do it at the same time break each other.

    It is made under another name: one that dies in the middle must not leave half of the tables.
    """
    try:
        from sqlalchemy.exc import DatabaseError, OperationalError
    except ImportError as error:
        raise BadInputError(
            "MLFLOW_TRACKING_URI: an SQLite file needs learngene-zoo[registry]; with learngene-zoo[pull] legal are "
            "http://HOST[:PORT] and https://HOST[:PORT]"
        ) from error

    database = Path(uri.removeprefix(SQLITE))
    try:
        with FileLock(_lock_path(uri)):
            if not database.exists():
                draft = database.with_name(f"{database.name}.new")
                for left in database.parent.glob(f"{draft.name}*"):
                    left.unlink()
                _open(f"{SQLITE}{draft}")
                draft.replace(database)
            _open(uri)
    except OperationalError as error:  # no right to write, a full disk, another program's lock
        raise ZooError(f"{database}: the registry cannot be opened ({error.orig})") from error
    except DatabaseError as error:
        raise IntegrityError(
            f"{database}: not a database of MLflow ({error.orig}). "
            f"It holds no weights: move it away and register the learngenes again"
        ) from error


def _open(uri: str) -> None:
    from mlflow import MlflowClient

    MlflowClient(uri, registry_uri=uri).search_registered_models(max_results=1)


def _probe(uri: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        answer = http_request(
            get_default_host_creds(uri),
            "/health",
            "GET",
            max_retries=1,
            backoff_factor=0,
            backoff_jitter=0,
            timeout=PROBE_SECONDS,
            raise_on_status=False,
        )
    except MlflowException:
        answer = None  # what MLflow says would show the credentials
    if answer is None or answer.status_code >= 500:
        why = "does not answer" if answer is None else f"answers {answer.status_code}"
        raise RegistryAwayError(f"the registry {without_credentials(uri)} {why}; is MLFLOW_TRACKING_URI right?")
