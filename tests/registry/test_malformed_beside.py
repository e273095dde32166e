"""Malformed `ready.json`, `provenance.json` and `signature.json`: refused with a `ZooError`, or sound after all."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from malformed import damaged_json, examples

from pipelines.models.making import Making, make_model
from pipelines.run.provenance import write_by_hand
from registry.ready import copy_ready
from zoo.errors import ZooError
from zoo.files import SIGNATURE
from zoo.manifest import read_manifest
from zoo.provenance import PROVENANCE, Provenance, read_provenance
from zoo.ready import READY, Ready, verify_ready
from zoo.signatures import fingerprint, sign, signers

MakeLearngene = Callable[..., Path]
EXAMPLES = 50

some = examples(EXAMPLES)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refused(read: Callable[[], object]) -> bool:
    """Whether reading ends in an error of ours; any other error is a failure."""
    try:
        read()
    except ZooError:
        return True
    return False


def test_malformed_descriptions_of_ready_models_are_refused(learngene: MakeLearngene, tmp_path: Path) -> None:
    place = tmp_path / "models" / "model"
    make_model(str(learngene()), (2, 8, None, None), Making(), place)
    sound, before = verify_ready(place), names(place)
    count = 0

    @some
    @given(damaged_json(place / READY))
    def every_one(content: bytes) -> None:
        nonlocal count
        source, copy = tmp_path / "models" / "source", tmp_path / "models" / "copy"
        shutil.copytree(place, source, dirs_exist_ok=True)
        (source / READY).write_bytes(content)
        if refused(lambda: copy_ready(source, copy)):
            count += 1
            assert names(place.parent) == {"model", "source"}
            return
        found = verify_ready(copy)
        assert isinstance(found, Ready)
        assert names(copy) <= before
        assert (found.description == sound.description) == (found == sound)
        shutil.rmtree(copy)

    every_one()
    assert count > EXAMPLES * 0.5


def test_malformed_provenance_is_refused(learngene: MakeLearngene) -> None:
    folder, count = learngene(), 0
    write_by_hand(folder, 1.0)

    @some
    @given(damaged_json(folder / PROVENANCE))
    def every_one(content: bytes) -> None:
        nonlocal count
        (folder / PROVENANCE).write_bytes(content)
        if refused(lambda: read_provenance(folder)):
            count += 1
        else:
            assert isinstance(read_provenance(folder), Provenance)

    every_one()
    assert count > EXAMPLES * 0.3


def test_malformed_signatures_are_refused_or_vouch_for_nothing(learngene: MakeLearngene) -> None:
    folder, key, count = learngene(), Ed25519PrivateKey.generate(), 0
    digest, name = read_manifest(folder).digest, fingerprint(key.public_key())
    sign(folder, digest, key)
    sound = (folder / SIGNATURE).read_bytes()

    @some
    @given(damaged_json(folder / SIGNATURE))
    def every_one(content: bytes) -> None:
        nonlocal count
        (folder / SIGNATURE).write_bytes(content)
        count += refused(lambda: signers(folder, digest, {name: key.public_key()}))
        assert refused(lambda: signers(folder, "0" * 64, {name: key.public_key()})) or not signers(
            folder, "0" * 64, {name: key.public_key()}
        )

    every_one()
    (folder / SIGNATURE).write_bytes(sound)
    assert signers(folder, digest, {name: key.public_key()}) == (name,)
    assert count > EXAMPLES * 0.3


pytestmark = pytest.mark.usefixtures("fresh_home")
