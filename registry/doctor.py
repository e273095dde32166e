"""Whether the registry can be used from here: what it is, whether it lets us in, what its clock says."""

import time
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Literal

from registry.server import SQLITE, clock, connect, server_version, tracking_uri, user_of, without_credentials
from zoo.errors import IntegrityError, NotFoundError, ZooError

State = Literal["ok", "warning", "failure"]
CLOCK_WARNS, CLOCK_FAILS = 5.0, 300.0  # seconds between two clocks; an answer says the second only


@dataclass(frozen=True)
class Check:
    """One row: what was looked at, how it is, what was found, and what to do if it is not ok."""

    name: str
    state: State
    found: str
    advice: str = ""


def check_registry() -> list[Check]:
    """The rows about the registry of this user; where it does not answer, only that."""
    try:
        uri = tracking_uri()
    except ZooError as error:
        return [Check("registry", "failure", str(error), "set it right, or unset it for an SQLite file")]
    if find_spec("mlflow") is None:
        found = "not looked at: MLflow is not installed"
        return [Check("registry", "warning", found, "pip install 'learngene-zoo[registry]'")]
    shown = without_credentials(uri)
    try:
        with connect():
            pass
    except ZooError as error:
        return [Check("registry", "failure", str(error), _advice(error))]
    rows = [Check("registry", "ok", f"{shown}, an SQLite file") if uri.startswith(SQLITE) else _server(uri)]
    rows.append(_access(uri))
    if not uri.startswith(SQLITE):
        rows.append(clock_check("registry clock", clock(uri) - time.time()))
    return rows


def clock_check(name: str, ahead: float) -> Check:
    """How far a clock is ahead of this machine's."""
    if abs(ahead) <= CLOCK_WARNS:
        return Check(name, "ok", f"differs by less than {CLOCK_WARNS:g} s")
    state = "warning" if abs(ahead) <= CLOCK_FAILS else "failure"
    found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    return Check(name, state, found, "let both machines take their time from NTP; ages in `zoo gc` are wrong meanwhile")


def _server(uri: str) -> Check:
    there, here = server_version(uri), version("mlflow-skinny")
    found = f"{without_credentials(uri)}, MLflow {there or 'of unknown version'}"
    if there and there.split(".")[:2] != here.split(".")[:2]:
        advice = "use the same minor version on both sides (docs/operations.md, Upgrade)"
        return Check("registry", "warning", f"{found}; here it is {here}", advice)
    return Check("registry", "ok", found)


def _access(uri: str) -> Check:
    who = f"as user {user_of(uri)!r}" if user_of(uri) else "without a user"
    try:
        with connect() as client:
            client.search_registered_models(max_results=1)
    except ZooError as error:
        return Check("registry access", "failure", str(error), "ask an administrator of the server for a user")
    return Check("registry access", "ok", "a file of this machine" if uri.startswith(SQLITE) else who)


def _advice(error: ZooError) -> str:
    if isinstance(error, NotFoundError):
        return "start the server, or set MLFLOW_TRACKING_URI right"
    if isinstance(error, IntegrityError):
        return "restore the file from its backup (docs/operations.md)"
    return "see the message; the file and its folder must be writable"
