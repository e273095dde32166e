"""Learngenes on disk: whole, verified, identified by their content."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from zoo_samples import learngene, vit

from zoo.errors import IntegrityError, NotFoundError
from zoo.files import digest_file
from zoo.learngene import Learngene
from zoo.manifest import MANIFEST, TENSORS, read_manifest, verify
from zoo.methods.base import Method
from zoo.methods.front import Front
from zoo.methods.kronecker import Kronecker
from zoo.size import Size
from zoo.untrusted import CARD

SOURCE = vit(depth=3, width=8, heads=2, mlp=16)
both = pytest.mark.parametrize("method", [Kronecker(tile=4, templates=3), Front(keep=0.6)], ids=lambda m: m.name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound learngene on disk, to be damaged."""
    folder = tmp_path / "gene"
    learngene(Front(), SOURCE).save(folder)
    return folder


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


@both
def test_a_learngene_comes_back_bit_by_bit(method: Method, tmp_path: Path) -> None:
    gene = learngene(method, SOURCE)
    manifest = gene.save(tmp_path / "gene")
    back = Learngene.load(tmp_path / "gene")
    assert (back.method, back.source, back.parents) == (gene.method, gene.source, gene.parents)
    assert set(back.tensors) == set(gene.tensors)
    assert all(torch.equal(back.tensors[name], tensor) for name, tensor in gene.tensors.items())
    assert {name: t.dtype for name, t in back.tensors.items()} == {name: t.dtype for name, t in gene.tensors.items()}
    assert gene.digest == manifest.digest == back.digest == verify(tmp_path / "gene").digest


@both
def test_a_loaded_learngene_expands_to_the_same_weights(method: Method, tmp_path: Path) -> None:
    gene, size = learngene(method, SOURCE), Size(depth=4, width=12, heads=3, mlp=20)
    gene.save(tmp_path / "gene")
    before, after = gene.expand(size), Learngene.load(tmp_path / "gene").expand(size)
    assert all(torch.equal(before[name], after[name]) for name in before)


@both
def test_the_manifest_says_what_the_learngene_is(method: Method, tmp_path: Path) -> None:
    gene = learngene(method, SOURCE)
    gene.save(tmp_path / "gene")
    manifest = read_manifest(tmp_path / "gene")
    assert (manifest.family, manifest.config, manifest.size) == ("vit", SOURCE.config.model_dump(), SOURCE.size)
    assert (manifest.method, manifest.legal) == (method, method.legal(SOURCE))
    assert manifest.parents == gene.parents
    assert manifest.tensors == digest_file(tmp_path / "gene" / TENSORS)
    assert manifest.parameters == sum(tensor.numel() for tensor in load_file(tmp_path / "gene" / TENSORS).values())


def test_a_folder_holds_three_readable_files_and_nothing_else(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {TENSORS, MANIFEST, CARD}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    card = (folder / CARD).read_text()
    assert Learngene.load(folder).digest in card
    assert "depth 3, width 8, 2 heads" in card


@both
def test_the_digest_depends_on_content_alone(method: Method, tmp_path: Path) -> None:
    gene = learngene(method, SOURCE)
    digests = {gene.save(tmp_path / name).digest for name in ("one", "deep/two", "one")}
    digests.add(Learngene.load(tmp_path / "one").save(tmp_path / "three").digest)
    digests.add(learngene(method, SOURCE).digest)
    assert digests == {gene.digest}
    first, second = ((tmp_path / name / TENSORS).read_bytes() for name in ("one", "three"))
    assert first == second


@pytest.mark.parametrize(
    "other",
    [
        learngene(Front(keep=0.6), SOURCE, seed=1),
        learngene(Front(keep=0.7), SOURCE),
        learngene(Front(normalization="official", keep=0.6), SOURCE),
        learngene(Front(keep=0.6), vit(depth=3, width=8, heads=4, mlp=16)),
        Learngene(Front(keep=0.6), SOURCE, learngene(Front(keep=0.6), SOURCE).tensors, parents=("cd" * 32,)),
    ],
    ids=["tensors", "keep", "normalization", "heads", "parents"],
)
def test_the_digest_depends_on_all_of_the_content(other: Learngene) -> None:
    assert other.digest != learngene(Front(keep=0.6), SOURCE).digest


def test_the_card_is_not_part_of_the_digest(folder: Path) -> None:
    before = Learngene.load(folder).digest
    (folder / CARD).write_text("my notes")
    assert Learngene.load(folder).digest == before


@pytest.mark.parametrize("position", [0, 40, -1], ids=["header length", "header", "last number"])
def test_one_flipped_byte_in_the_tensors_is_refused(folder: Path, position: int) -> None:
    content = bytearray((folder / TENSORS).read_bytes())
    content[position] ^= 1
    (folder / TENSORS).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{TENSORS}: "):
        Learngene.load(folder)


def test_truncated_tensors_are_refused(folder: Path) -> None:
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[:-100])
    with pytest.raises(IntegrityError, match=f"{TENSORS}: not a whole safetensors file"):
        Learngene.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["legal"].update(mlp_ratio=3.5),
        lambda content: content["size"].update(depth=4),
        lambda content: content["method"].update(keep=0.9),
        lambda content: content.update(parents=[]),
        lambda content: content.update(parameters=1),
    ],
    ids=["legal", "size", "method", "parents", "parameters"],
)
def test_a_changed_manifest_is_another_learngene(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Whoever knows the digest (the registry does) sees that it is not the one that was asked for."""
    before = read_manifest(folder).digest
    edit(folder, change)
    assert read_manifest(folder).digest != before


def test_the_layout_of_the_manifest_is_not_part_of_the_digest(folder: Path) -> None:
    before = read_manifest(folder).digest
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(dict(reversed(content.items())), indent=7))
    assert read_manifest(folder).digest == before


@pytest.mark.parametrize(
    ("version", "what"), [(1, "`zoo migrate`"), (99, "upgrade learngene-zoo"), ("2", "upgrade learngene-zoo")]
)
def test_another_schema_says_what_to_do(folder: Path, version: object, what: str) -> None:
    edit(folder, lambda content: content.update(schema_version=version, something="new"))
    with pytest.raises(IntegrityError, match=f"schema_version {version!r}.* {what}"):
        Learngene.load(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.update(colour="red"), "field 'colour'"),
        (lambda content: content.pop("family"), "field 'family'"),
        (lambda content: content["size"].update(depth=0), "field 'size.depth'"),
        (lambda content: content["size"].update(heads=3), "heads: 3 does not divide width 8"),
        (lambda content: content["method"].update(name="magic"), "field 'method'.*magic"),
        (lambda content: content["method"].update(keep=2), "field 'method.front.keep'"),
        (lambda content: content.pop("schema_version"), "not a manifest of a learngene"),
        (lambda content: content.update(family="lstm"), "family: 'lstm' is not known"),
        (lambda content: content["config"].update(colour="red"), "config.colour"),
    ],
)
def test_a_wrong_manifest_is_refused_by_field(
    folder: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    edit(folder, change)
    with pytest.raises(IntegrityError, match=words) as caught:
        Learngene.load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"schema_version"', "NaN", "\ufeff{}"])
def test_what_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(IntegrityError, match=f"{MANIFEST}: not a manifest of a learngene"):
        Learngene.load(folder)


def test_a_manifest_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(IntegrityError, match="not a manifest of a learngene"):
        Learngene.load(folder)


def test_tensors_that_are_no_safetensors_are_refused_even_with_the_right_digest(folder: Path) -> None:
    (folder / TENSORS).write_bytes(b"\x80\x04junk")
    edit(folder, lambda content: content.update(tensors=digest_file(folder / TENSORS)))
    with pytest.raises(IntegrityError, match=str(folder)):
        Learngene.load(folder)


def test_missing_parts_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / TENSORS).unlink()
    with pytest.raises(IntegrityError, match=f"{TENSORS}: missing; the learngene is incomplete"):
        Learngene.load(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(NotFoundError, match=f"{folder}: no learngene here \\({MANIFEST} is missing\\)"):
        Learngene.load(folder)
    with pytest.raises(NotFoundError, match="nowhere: no learngene here"):
        Learngene.load(tmp_path / "nowhere")


def test_saving_again_replaces_the_whole_folder(folder: Path) -> None:
    (folder / "stray.txt").write_text("left from before")
    other = learngene(Front(), SOURCE, seed=5)
    other.save(folder)
    assert Learngene.load(folder).digest == other.digest
    assert {path.name for path in folder.iterdir()} == {TENSORS, MANIFEST, CARD}


def test_a_failed_save_leaves_the_learngene_that_was_there(folder: Path) -> None:
    before = Learngene.load(folder).digest
    one = torch.zeros(3)
    with pytest.raises(RuntimeError, match="share memory"):
        Learngene(Front(), SOURCE, {"one": one, "two": one}).save(folder)
    assert Learngene.load(folder).digest == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@both
def test_a_learngene_without_one_of_its_tensors_is_refused(method: Method, tmp_path: Path) -> None:
    whole = learngene(method, SOURCE)
    for missing in whole.tensors:
        rest = {name: tensor for name, tensor in whole.tensors.items() if name != missing}
        replace(whole, tensors=rest).save(tmp_path / "partial")
        with pytest.raises(IntegrityError, match="not those of a whole learngene"):
            Learngene.load(tmp_path / "partial")
