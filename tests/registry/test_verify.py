"""`zoo verify`: what holds and what does not, checked in place."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from registry.entries import Entry
from registry.register import register
from registry.server import connect
from registry.verify import verify_all, verify_refs
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.manifest import MANIFEST, TENSORS

MakeLearngene = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("ready_home")


def _quiet(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def five(learngene: MakeLearngene, ready_home: Path) -> list[Entry]:
    """`vit` 1 to 5: whole, a flipped byte, gone, another learngene in its place, other facts in the registry."""
    folders = [learngene(i) for i in range(5)]
    entries = [register(folder, "vit", metrics={}) for folder in folders]
    content = bytearray((folders[1] / TENSORS).read_bytes())
    content[-1] ^= 1
    (folders[1] / TENSORS).write_bytes(content)
    shutil.rmtree(folders[2])
    shutil.copytree(folders[0], folders[3], dirs_exist_ok=True)
    with connect() as client:
        client.set_model_version_tag("vit", "5", "learngene.parameters", "7")
        client.create_registered_model("others")
        client.create_model_version("others", "s3://bucket/model", tags={"team": "other"}, await_creation_for=0)
    return entries


def test_every_version_is_checked_where_it_lies(five: list[Entry], ready_home: Path) -> None:
    seen: list[tuple[int, int]] = []
    checked = {row.what: row for row in verify_all(lambda done, total: seen.append((done, total)))}
    assert {what: row.state for what, row in checked.items()} == {
        "vit:1": "holds",
        "vit:2": "damaged",
        "vit:3": "missing",
        "vit:4": "damaged",
        "vit:5": "damaged",
        "others:1": "foreign",
    }
    for ref, problem in (
        ("vit:2", "digest"),
        ("vit:4", "registered was"),
        ("vit:5", "parameters: the registry says 7"),
    ):
        assert problem in checked[ref].problem
    assert checked["vit:1"].digest == five[0].digest
    assert not (ready_home / "cache" / "learngenes").exists()
    assert seen == [(i, 5) for i in range(6)]


def test_the_verb_says_what_is_wrong_and_ends_with_an_integrity_error(learngene: MakeLearngene) -> None:
    good, gone = learngene(1), learngene(2)
    register(good, "vit", metrics={})
    register(gone, "vit", metrics={})
    shutil.rmtree(gone)
    result = CliRunner().invoke(app, ["verify", "--all", "--json"])
    assert isinstance(result.exception, IntegrityError)
    assert "1 of 2 do not hold: vit:2" in str(result.exception)
    assert [row["state"] for row in json.loads(result.stdout)] == ["holds", "missing"]
    assert CliRunner().invoke(app, ["verify", "vit:1", str(good)]).exit_code == 0
    for wrong in ([], ["vit:1", "--all"]):
        assert isinstance(CliRunner().invoke(app, ["verify", *wrong]).exception, BadInputError)


def test_folders_are_checked_without_a_registry(learngene: MakeLearngene) -> None:
    folder = learngene()
    assert [row.state for row in verify_refs([str(folder)], _quiet)] == ["holds"]
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(content | {"config": content["config"] | {"num_classes": 3}}))
    (row,) = verify_refs([str(folder)], _quiet)  # its digests are right, but these are no tensors of such a model
    assert (row.state, row.wrong) == ("damaged", True)
    assert "whole learngene" in row.problem or "shapes that the manifest promises" in row.problem


def test_what_is_not_known_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        verify_refs(["nothing"], _quiet)
    with pytest.raises(NotFoundError):
        verify_refs(["./nothing"], _quiet)
