"""Old learngenes: those in `schema1/` were written by the code that wrote schema 1."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from zoo.errors import BadInputError, IntegrityError
from zoo.files import digest_folder, digest_json
from zoo.learngene import Learngene
from zoo.manifest import MANIFEST, TENSORS
from zoo.migrate import MIGRATIONS, migrate
from zoo.size import Size

OLD = Path(__file__).parent / "schema1"
both = pytest.mark.parametrize("name", ["front", "kronecker"])


@both
def test_a_migrated_learngene_is_a_new_one_whose_parent_is_the_old_one(name: str, tmp_path: Path) -> None:
    before, old = digest_folder(OLD / name), json.loads((OLD / name / MANIFEST).read_text())
    manifest = migrate(OLD / name, tmp_path / "new")
    new = Learngene.load(tmp_path / "new")
    assert new.digest == manifest.digest != digest_json(old)
    assert new.parents == (digest_json(old), *old["parents"])
    assert manifest.legal == new.method.legal(new.source)
    assert digest_folder(OLD / name) == before


@both
def test_a_migrated_learngene_gives_the_models_that_the_old_code_gave(name: str, tmp_path: Path) -> None:
    migrate(OLD / name, tmp_path / "new")
    found = Learngene.load(tmp_path / "new").expand(Size(depth=2, width=12, heads=3, mlp=24))
    expected = load_file(OLD / f"{name}-expanded.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[key], tensor, atol=1e-6) for key, tensor in expected.items())


def test_an_old_schema_is_refused_with_what_to_do() -> None:
    with pytest.raises(IntegrityError, match=r"schema_version 1; this learngene-zoo reads 2: .* `zoo migrate`"):
        Learngene.load(OLD / "front")


def test_what_is_of_today_needs_no_migration(tmp_path: Path) -> None:
    migrate(OLD / "front", tmp_path / "new")
    with pytest.raises(BadInputError, match="there is nothing to migrate"):
        migrate(tmp_path / "new", tmp_path / "newer")


@pytest.mark.parametrize("schema", [0, 99, "1", None, []])
def test_a_schema_that_nobody_knows_is_refused(tmp_path: Path, schema: object) -> None:
    shutil.copytree(OLD / "front", tmp_path / "old")
    content = json.loads((tmp_path / "old" / MANIFEST).read_text())
    (tmp_path / "old" / MANIFEST).write_text(json.dumps(content | {"schema_version": schema}))
    with pytest.raises(IntegrityError, match="cannot be migrated; legal: 1"):
        migrate(tmp_path / "old", tmp_path / "new")


def test_a_damaged_one_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    shutil.copytree(OLD / "front", tmp_path / "old")
    content = bytearray((tmp_path / "old" / TENSORS).read_bytes())
    content[-1] ^= 1
    (tmp_path / "old" / TENSORS).write_bytes(content)
    with pytest.raises(IntegrityError, match="digest"):
        migrate(tmp_path / "old", tmp_path / "new")
    (tmp_path / "old" / MANIFEST).write_text('{"schema_version": 1, "legal": 3}')
    with pytest.raises(IntegrityError, match="not a manifest of schema 1"):
        migrate(tmp_path / "old", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_every_older_schema_has_a_step() -> None:
    assert sorted(MIGRATIONS) == [1]


@pytest.mark.parametrize("kind", ["link", "huge"])
def test_files_that_are_none_of_a_learngene_are_not_copied(tmp_path: Path, kind: str) -> None:
    shutil.copytree(OLD / "front", tmp_path / "old")
    if kind == "link":
        (tmp_path / "old" / TENSORS).unlink()
        (tmp_path / "old" / TENSORS).symlink_to(OLD / "front" / TENSORS)
    else:
        os.truncate(tmp_path / "old" / TENSORS, 2**40)  # sparse
    with pytest.raises(IntegrityError, match=f"old/{TENSORS}: (a symbolic link|1,099,511,627,776 bytes; at most)"):
        migrate(tmp_path / "old", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_messages_name_the_folder_that_is_damaged(tmp_path: Path) -> None:
    shutil.copytree(OLD / "front", tmp_path / "old")
    content = bytearray((tmp_path / "old" / TENSORS).read_bytes())
    content[-1] ^= 1
    (tmp_path / "old" / TENSORS).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{tmp_path / 'old' / TENSORS}: digest"):
        migrate(tmp_path / "old", tmp_path / "new")
