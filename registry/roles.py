"""Roles on MLflow's own users: reader, builder and promoter of a name.

MLflow permits per registered model and per experiment. So a role of NAME is three permissions: on the experiment that
holds the numbers, on NAME with its versions, and on its history NAME@history, which only promoters may add to.
"""

from typing import Any, Literal, get_args

from registry.refs import parse_name
from registry.server import SQLITE, connect, tracking_uri, unless_there, without_credentials
from registry.shelf import EXPERIMENT, OWN
from zoo.errors import BadInputError, NotFoundError

Role = Literal["reader", "builder", "promoter"]
ROUTE = "/api/3.0/mlflow/users/permissions"
LEVELS = ("READ", "USE", "EDIT", "MANAGE")
PERMISSIONS: dict[str, tuple[str, str, str]] = {  # on the experiment, on the name, on its history
    "reader": ("READ", "READ", "READ"),
    "builder": ("EDIT", "EDIT", "READ"),
    "promoter": ("READ", "MANAGE", "EDIT"),  # taking an alias away counts as deleting, which is MANAGE
}


def grant(user: str, role: str, name: str) -> dict[str, str]:
    """Give a user of the server a role of `name`, in the place of any other; what is permitted now, by resource.

    The name and its history are made if they are not there: who makes one in MLflow may do everything with it. A user
    who needs more on the experiment, for another name, keeps it.

    Raises `BadInputError` for what is no role and for an SQLite file, `NotFoundError` for an unknown user,
    `RoleError` unless we are an administrator.
    """
    parse_name(name)
    if role not in PERMISSIONS:
        raise BadInputError(f"role {role!r} is not legal; legal are {', '.join(get_args(Role))}")
    uri = tracking_uri()
    if uri.startswith(SQLITE):
        raise BadInputError(f"MLFLOW_TRACKING_URI: {uri} is a file, which has no users; roles want a server")
    with connect() as client:
        from mlflow.exceptions import MlflowException

        if client.get_experiment_by_name(EXPERIMENT) is None:
            unless_there(lambda: client.create_experiment(EXPERIMENT))
        experiment = client.get_experiment_by_name(EXPERIMENT)
        assert experiment
        models = (name, f"{name}{OWN}history")
        for model in models:
            unless_there(lambda model=model: client.create_registered_model(model))
        places = [("experiment", experiment.experiment_id), *(("registered_model", model) for model in models)]
        wanted = list(PERMISSIONS[role])
        if _keeps(uri, user, name, places[0][1]):
            has = _permission(uri, user, places[0])
            wanted[0] = max(has, wanted[0], key=LEVELS.index) if has in LEVELS else wanted[0]
        for (kind, place), permission in zip(places, wanted, strict=True):
            what = {"username": user, "resource_type": kind, "resource_id": place}
            try:
                _call(uri, "POST", f"{ROUTE}/grant", json=what | {"permission": permission})
            except MlflowException as error:  # MLflow replaces none
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                _call(uri, "POST", f"{ROUTE}/revoke", json=what)
                _call(uri, "POST", f"{ROUTE}/grant", json=what | {"permission": permission})
    return dict(zip((EXPERIMENT, *models), wanted, strict=True))


def _keeps(uri: str, user: str, name: str, experiment: str) -> bool:
    """Whether what a user has on the experiment is not for `name` alone: another name is theirs, or they own it."""
    found = _call(uri, "GET", f"{ROUTE}/list", params={"username": user}).json()["permissions"]
    has = {(row["resource_type"], row["resource_pattern"]): row["permission"] for row in found}
    names = {place for kind, place in has if kind == "registered_model" and OWN not in place and place != name}
    promoter = PERMISSIONS["promoter"][1:]
    roles = [tuple(has.get(("registered_model", model)) for model in (each, f"{each}{OWN}history")) for each in names]
    builds = any(role[0] in ("EDIT", "MANAGE") and role != promoter for role in roles)
    return builds or has.get(("experiment", experiment)) == "MANAGE"


def _permission(uri: str, user: str, place: tuple[str, str]) -> str:
    what = {"username": user, "resource_type": place[0], "resource_id": place[1]}
    return _call(uri, "GET", f"{ROUTE}/get", params=what).json()["permission"]


def _call(uri: str, verb: str, route: str, **content: Any) -> Any:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    answer: Any = http_request(get_default_host_creds(uri), route, verb, raise_on_status=False, **content)
    if answer.status_code == 404 and "json" not in answer.headers.get("Content-Type", ""):
        raise BadInputError(
            f"the registry {without_credentials(uri)} has no users; start it with --app-name=basic-auth"
        )
    try:
        return verify_rest_response(answer, route)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFoundError(f"the registry {without_credentials(uri)}: {error}; make the user first") from None
        raise
