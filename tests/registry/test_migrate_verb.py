"""`zoo migrate` and the registry: a copy in the store, what the old version had, and a candidate."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from registry.entries import find_entry
from registry.promote import promote
from registry.pull import pull
from registry.register import put
from registry.server import connect, lock
from zoo.errors import IntegrityError
from zoo.files import digest_json
from zoo.manifest import MANIFEST

SCHEMA1 = Path(__file__).parents[1] / "zoo" / "schema1" / "front"
pytestmark = pytest.mark.usefixtures("ready_home")


def migrate(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["migrate", *words, "--json"], catch_exceptions=False)
    return json.loads(result.stdout)


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A version as older code registered it: its legal sizes are those of schema 1."""
    folder = shutil.copytree(SCHEMA1, tmp_path / "old")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    tags = {key: json.dumps(manifest[key]) for key in ("legal", "parents", "parameters")}
    tags |= {"digest": digest_json(manifest), "uri": folder.as_uri(), "family": "vit", "method": "front"}
    texts = {f"learngene.{key}": text for key, text in tags.items()}
    with connect() as client, lock():
        put(client, "vit", texts | {"task": "digits", "provenance": "a" * 64}, {"accuracy": 0.75, "parameters": 480.0})
    return "vit:1"


def test_a_migrated_learngene_lies_in_the_store_and_is_the_candidate(tmp_path: Path) -> None:
    answer = migrate(str(SCHEMA1), "--out", str(tmp_path / "new"), "--name", "vit")
    shutil.rmtree(tmp_path / "new")
    assert (answer["registered"], answer["next"]) == ("vit:1", "zoo promote vit@candidate")
    assert find_entry("vit:1").aliases == ("candidate",)
    assert pull("vit@candidate").name == answer["digest"]
    assert promote("vit@candidate").aliases == ("champion",)
    again = migrate(str(SCHEMA1), "--out", str(tmp_path / "new"), "--name", "vit")
    assert "next" not in again
    assert find_entry("vit:1").aliases == ("champion",)


def test_a_version_of_the_registry_hands_on_its_scores_and_tags(old: str, tmp_path: Path) -> None:
    answer = migrate(old, "--out", str(tmp_path / "new"), "--name", "vit")
    entry = find_entry(answer["registered"])
    assert (entry.ref, entry.metrics["accuracy"]) == ("vit:2", 0.75)
    assert entry.tags == {"task": "digits", "made-by": "migrate"}


def test_a_folder_that_is_not_what_was_registered_is_not_migrated(old: str, tmp_path: Path) -> None:
    path = tmp_path / "old" / MANIFEST
    path.write_text(path.read_text(encoding="utf-8").replace("480", "481"), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"vit:1: .* registered was another"):
        migrate(old, "--out", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
