"""Which MLflow this user talks to, and how: `connect()`. Whatever fails in there becomes a `ZooError`.

`MLFLOW_TRACKING_URI` names a server (http, https) or an SQLite file; without it there is one SQLite file
under `zoo.files.home()`. Other databases belong behind a server.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock

from zoo.errors import BadInputError, IntegrityError, NotFoundError, ZooError
from zoo.files import home

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
PROBE_SECONDS = 3  # one try; there are two before a server counts as unreachable


class RegistryAwayError(NotFoundError):
    """The server does not answer: now, or at all."""


class RoleError(ZooError):
    """The server knows who asks, or not; in any case it does not let them do this."""


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
def connect(uri: str | None = None) -> Iterator["MlflowClient"]:
    """Yield a client for the registry (that of this user); MLflow's errors in the block become `ZooError`s.

    None of them shows credentials. A server that does not answer is a `RegistryAwayError` within seconds, where MLflow
    would retry for minutes; one that refuses this user is a `RoleError`.
    """
    uri = uri or tracking_uri()
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
        if error.error_code in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
            raise RoleError(_refusal(uri, error.error_code, message)) from None
        raise ZooError(f"the registry {without_credentials(uri)} refused: {message}") from None


@contextmanager
def lock() -> Iterator[None]:
    """One writer at a time among the processes that share the SQLite file (with a server: this home)."""
    with FileLock(_lock_path(tracking_uri())):
        _note(tracking_uri())
        yield


def registries() -> list[str]:
    """Every registry that learngenes of this home were registered at: this user's first, none with credentials but it.

    Raises `BadInputError` if `MLFLOW_TRACKING_URI` is not legal.
    """
    now, own = tracking_uri(), home() / "registry.db"
    others = [path.read_text(encoding="utf-8").strip() for path in sorted(_notes().glob("*.uri"))]
    if own.is_file():
        others.append(f"{SQLITE}{own}")
    return [now, *(uri for uri in dict.fromkeys(others) if uri != without_credentials(now))]


def note_of(uri: str) -> Path:
    """The file that says that learngenes of this home were registered at `uri`."""
    plain = without_credentials(uri)
    return _notes() / f"{hashlib.sha256(plain.encode()).hexdigest()[:16]}.uri"


def clock(uri: str) -> float:
    """Seconds since 1970 by the clock that dates what is registered at `uri`: the server's, to a second, or our own.

    Raises `RegistryAwayError`.
    """
    if uri.startswith(SQLITE):
        return time.time()
    date = _probe(uri).headers.get("Date")
    return parsedate_to_datetime(date).timestamp() if date else time.time()


def user_of(uri: str) -> str | None:
    """Who the server takes us for; None without a name."""
    return urlsplit(uri).username or os.environ.get("MLFLOW_TRACKING_USERNAME")


def unless_there(create: Callable[[], object]) -> None:
    """Create something that another process may have created meanwhile."""
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _refusal(uri: str, code: str, message: str) -> str:
    """Who was refused, what they wanted, and which role lets them."""
    asked = re.search(r"endpoint /api/\S*?mlflow/(\S+)", message)
    what, user = asked.group(1) if asked else message, user_of(uri)
    who = f"user {user!r}" if user else "a request that names no user"
    if code == "UNAUTHENTICATED":
        return (
            f"the registry {without_credentials(uri)} refused {who}: no such user, or another password (401, {what}); "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    return (
        f"the registry {without_credentials(uri)} refused {who}: not permitted (403, {what}). Readers find and pull, "
        "builders of a name register versions of it, its promoters promote and roll back, administrators collect "
        "garbage; an administrator gives roles by `zoo role USER reader|builder|promoter NAME`"
    )


def _notes() -> Path:
    return home() / "registries"


def _note(uri: str) -> None:
    if uri == f"{SQLITE}{home() / 'registry.db'}" or note_of(uri).is_file():
        return
    _notes().mkdir(parents=True, exist_ok=True)
    note_of(uri).write_text(f"{without_credentials(uri)}\n", encoding="utf-8")


def _lock_path(uri: str) -> Path:
    database = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else home() / "registry"
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(f"{database.parent}: the folder of the registry cannot be made ({error.strerror})") from error
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


def server_version(uri: str) -> str | None:
    """The version of MLflow that serves at `uri`; None where it does not say. Raises `RegistryAwayError`."""
    answer = _probe(uri, "/version")
    return answer.text.strip() if answer.status_code == 200 else None


def _probe(uri: str, path: str = "/health") -> Any:
    """What the server answers at once, without retries. Raises `RegistryAwayError`."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        answer = http_request(
            get_default_host_creds(uri),
            path,
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
    return answer
