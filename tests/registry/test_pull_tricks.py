"""Folders that are made to deceive: links, pipes, files far too large, addresses and names that lead elsewhere."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from registry.entries import find_entry, list_entries
from registry.pull import fetch, pull
from registry.register import register
from registry.server import connect
from registry.verify import verify_refs
from zoo.errors import IntegrityError
from zoo.files import SIGNATURE, digest_folder
from zoo.learngene import Learngene
from zoo.manifest import MANIFEST, TENSORS, read_manifest
from zoo.provenance import PROVENANCE
from zoo.untrusted import CARD

MakeLearngene = Callable[..., Path]
EVIL = (
    ("digest", "../../precious"),
    ("parameters", "9" * 400),
    ("config", "[" * 900 + "]" * 900),
    ("config", '{"img_size": 99999999999999, "patch_size": 7}'),
    ("size", '{"depth": 1, "width": 99999999999999, "heads": 7}'),
    ("size", '{"depth": 1, "width": NaN}'),
    ("parents", "7"),
)
"""Tags that lead elsewhere, that never end, or that nothing can be made of."""


@pytest.mark.parametrize("file", [MANIFEST, TENSORS])
def test_a_link_in_a_learngene_is_never_followed(learngene: MakeLearngene, tmp_path: Path, file: str) -> None:
    source, secret = learngene(), tmp_path / "elsewhere"
    digest = read_manifest(source).digest
    (source / file).rename(secret)
    (source / file).symlink_to(secret)
    with pytest.raises(IntegrityError, match=f"{file}: a symbolic link"):
        fetch(source, digest, tmp_path / "copy", "vit:1")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "huge"])
def test_a_card_that_is_no_plain_file_is_left_out_and_the_learngene_is_used(
    learngene: MakeLearngene, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = learngene()
    replace(source / CARD, kind)
    with caplog.at_level(logging.WARNING):
        fetch(source, read_manifest(source).digest, tmp_path / "copy", "vit:1")
    assert not (tmp_path / "copy" / CARD).exists()
    assert "the card is left out" in caplog.text
    (row,) = verify_refs([str(source)], lambda _done, _total: None)
    assert (row.state, "the card is left out" in row.problem) == ("holds", True)


@pytest.mark.parametrize("file", [SIGNATURE, PROVENANCE])
@pytest.mark.parametrize("kind", ["link", "pipe", "huge"])
def test_what_a_pull_refuses_does_not_hold(learngene: MakeLearngene, tmp_path: Path, file: str, kind: str) -> None:
    source = learngene()
    replace(source / file, kind)
    with pytest.raises(IntegrityError, match=file):
        fetch(source, read_manifest(source).digest, tmp_path / "copy", "vit:1")
    (row,) = verify_refs([str(source)], lambda _done, _total: None)
    assert (row.state, file in row.problem) == ("damaged", True)


def replace(path: Path, kind: str) -> None:
    """Put a link, a pipe or an enormous (sparse) file into the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        os.truncate(path, 50 * 2**30)


@pytest.mark.parametrize("file", [MANIFEST, TENSORS])
def test_pipes_devices_and_folders_are_refused_at_once(learngene: MakeLearngene, file: str) -> None:
    source = learngene()
    (source / file).unlink()
    os.mkfifo(source / file)
    with pytest.raises(IntegrityError, match=f"{file}: not a plain file"):
        Learngene.load(source)
    (source / file).unlink()
    (source / file).mkdir()
    with pytest.raises(IntegrityError, match=f"{file}: not a plain file"):
        Learngene.load(source)


@pytest.mark.parametrize("file", [MANIFEST, TENSORS])
def test_a_file_larger_than_it_can_be_is_refused_before_it_is_read(learngene: MakeLearngene, file: str) -> None:
    source = learngene()
    os.truncate(source / file, 2**40)  # sparse: reading or copying it would take hours
    with pytest.raises(IntegrityError, match=f"{file}: 1,099,511,627,776 bytes; at most"):
        Learngene.load(source)


def test_the_manifest_cannot_explain_more_numbers_than_there_are(learngene: MakeLearngene) -> None:
    source = learngene()
    content = json.loads((source / MANIFEST).read_text())
    (source / MANIFEST).write_text(json.dumps(content | {"parameters": content["parameters"] + 1}))
    with pytest.raises(IntegrityError, match=f"{TENSORS}: .* numbers, the manifest says"):
        Learngene.load(source)


@pytest.mark.usefixtures("ready_home")
def test_tags_of_an_attacker_make_a_version_foreign_and_nothing_else(learngene: MakeLearngene) -> None:
    register(learngene(1), "vit", metrics={})
    good = register(learngene(2), "vit", metrics={})
    with connect() as client:
        tags = client.get_model_version("vit", "1").tags
    for tag, text in EVIL:
        name = f"learngene.{tag}"
        with connect() as client:
            client.set_model_version_tag("vit", "1", name, text)
        assert list_entries() == [good], text
        with pytest.raises(IntegrityError, match="vit:1 is not a learngene"):
            pull("vit:1")
        with connect() as client:
            client.set_model_version_tag("vit", "1", name, tags[name])
    assert [entry.ref for entry in list_entries()] == ["vit:1", "vit:2"]


@pytest.mark.usefixtures("ready_home")
def test_an_address_that_is_no_folder_here_is_not_taken_for_one(learngene: MakeLearngene) -> None:
    entry = register(learngene(), "vit", metrics={})
    for uri in ("s3://bucket/etc", "file://host/etc", "/etc", "learngene:/etc"):
        with connect() as client:
            client.set_model_version_tag("vit", "1", "learngene.uri", uri)
        assert find_entry("vit").digest == entry.digest
        with pytest.raises(IntegrityError, match=r"vit:1: .* is no folder that this machine can read"):
            pull("vit")


def test_what_lies_beside_the_files_of_a_learngene_is_not_copied(learngene: MakeLearngene, tmp_path: Path) -> None:
    source = learngene()
    expected, manifest = digest_folder(source), read_manifest(source)
    (source / "run.sh").write_text("echo")
    (source / "more").symlink_to("/")
    fetch(source, manifest.digest, tmp_path / "copy", "vit:1")
    assert digest_folder(tmp_path / "copy") == expected
    shutil.rmtree(tmp_path / "copy")


@pytest.mark.usefixtures("ready_home")
def test_a_version_whose_address_is_a_file_is_shown_from_the_cache(learngene: MakeLearngene) -> None:
    register(learngene(), "vit", metrics={}, tags={"provenance": "a" * 64})
    pull("vit")
    for uri in ("file:///etc/passwd", "s3://bucket/etc", "file://[/etc"):
        with connect() as client:
            client.set_model_version_tag("vit", "1", "learngene.uri", uri)
        for verb in ("show", "card"):
            result = CliRunner().invoke(app, [verb, "vit"])
            assert result.exit_code == 0, (uri, verb, result.exception)
