"""Roles, on a real server with users: what each may do, and what is said to who may not."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow_server import mlflow_server

from pipelines import cli
from registry.doctor import check_registry
from registry.entries import find_entry, list_entries
from registry.promote import history, promote, rollback
from registry.pull import pull
from registry.register import register
from registry.roles import grant
from registry.search import find
from registry.server import RoleError, connect
from registry.shelf import EXPERIMENT
from zoo.errors import BadInputError, NotFoundError

MakeLearngene = Callable[..., Path]
WORDS = "long enough for a test"
"""Everybody's password."""
USERS = ("ada", "bea", "pia", "zoe")
CONFIG = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/users.db
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""
As = Callable[[str], None]


@pytest.fixture(scope="module")
def address(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that asks for a password; `admin` is there, and the users."""
    import requests

    folder = tmp_path_factory.mktemp("roles")
    (folder / "auth.ini").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    env = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": WORDS,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
    }
    with mlflow_server(folder, database, "--app-name=basic-auth", env=env) as address:
        for user in USERS:
            content = {"username": user, "password": WORDS}
            url = f"{address}/api/2.0/mlflow/users/create"
            requests.post(url, json=content, auth=("admin", WORDS), timeout=60).raise_for_status()
        yield address


@pytest.fixture
def as_user(address: str, ready_home: Path, monkeypatch: pytest.MonkeyPatch) -> As:
    """Lets everything that follows be done by a user."""

    def become(user: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", WORDS)

    return become


@pytest.fixture
def team(as_user: As) -> As:
    """Bea builds `vit`, Pia promotes it, Ada reads it."""
    as_user("admin")
    with connect() as client:
        is_new = client.get_experiment_by_name(EXPERIMENT) is None
    for user, role in (("ada", "reader"), ("bea", "builder"), ("pia", "promoter")) if is_new else ():
        grant(user, role, "vit")
    return as_user


def test_each_role_can_do_its_part_and_no_more(team: As, learngene: MakeLearngene) -> None:
    team("ada")
    with pytest.raises(RoleError, match=r"refused user 'ada': not permitted .*runs/create.* builders of a name"):
        register(learngene(1), "vit", metrics={})
    assert list_entries() == []

    team("bea")
    for seed in (1, 2):
        register(learngene(seed), "vit", metrics={"accuracy": seed / 10})
    with pytest.raises(RoleError, match=r"refused user 'bea': not permitted .*model-versions/create.* promoters"):
        promote("vit:1")
    assert (history("vit"), find_entry("vit:1").aliases) == ([], ())

    team("pia")
    promote("vit:1")
    promote("vit:2")

    team("bea")
    with pytest.raises(RoleError):
        rollback("vit")
    with connect() as client:  # MLflow cannot keep who may make versions from setting an alias
        client.set_registered_model_alias("vit", "champion", "1")

    team("ada")
    with pytest.raises(RoleError):
        promote("vit:1")
    assert find_entry("vit:1").digest == find(family="vit").found[0].entry.digest
    assert pull("vit:2").is_dir()

    team("pia")
    assert promote("vit:1").aliases == ("champion",)  # decided upon the log, not upon the alias
    assert rollback("vit").version == 2
    assert {event.record.who.split("@")[0] for event in history("vit")} == {"pia"}


def test_who_is_no_administrator_gives_no_roles_and_deletes_nothing(team: As) -> None:
    team("bea")
    with pytest.raises(RoleError, match="administrator"):
        grant("bea", "promoter", "vit")
    with pytest.raises(RoleError), connect() as client:
        client.delete_registered_model("vit")


def test_a_role_of_one_name_takes_nothing_from_another(team: As, learngene: MakeLearngene) -> None:
    team("admin")
    grant("bea", "builder", "other")
    permissions = grant("bea", "reader", "other")
    assert permissions == {"learngene-zoo": "EDIT", "other": "READ", "other@history": "READ"}
    team("bea")
    register(learngene(5), "vit", metrics={})
    with pytest.raises(RoleError):
        register(learngene(5), "other", metrics={})


def test_who_builds_no_name_any_more_writes_no_numbers_any_more(team: As) -> None:
    team("admin")
    assert grant("zoe", "builder", "hers")["learngene-zoo"] == "EDIT"
    assert grant("zoe", "promoter", "hers")["learngene-zoo"] == "READ"


def test_what_makes_no_role_is_said(team: As, monkeypatch: pytest.MonkeyPatch) -> None:
    team("admin")
    with pytest.raises(NotFoundError, match="nobody"):
        grant("nobody", "reader", "vit")
    with pytest.raises(BadInputError, match="legal are reader, builder, promoter"):
        grant("bea", "owner", "vit")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(BadInputError, match="a file, which has no users"):
        grant("bea", "reader", "vit")


def test_a_wrong_password_is_a_failure_of_the_doctor(team: As, monkeypatch: pytest.MonkeyPatch) -> None:
    team("ada")
    assert {row.state for row in check_registry()} == {"ok"}
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another one")
    access = next(row for row in check_registry() if row.name == "registry access")
    assert (access.state, "refused user 'ada': no such user, or another password" in access.found) == ("failure", True)
    assert "another one" not in access.found


def test_the_verb_gives_a_role(team: As, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    team("admin")
    monkeypatch.setattr("sys.argv", ["zoo", "role", "zoe", "promoter", "fresh", "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    expected = {"learngene-zoo": "READ", "fresh": "MANAGE", "fresh@history": "EDIT"}
    assert json.loads(capsys.readouterr().out) == expected
