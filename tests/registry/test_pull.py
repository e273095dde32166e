"""Pulling: what arrives is what was registered, or nothing."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.promote import set_alias
from registry.pull import pull, resolve
from registry.register import register
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import digest_folder
from zoo.learngene import Learngene
from zoo.manifest import MANIFEST, TENSORS

MakeLearngene = Callable[..., Path]


@pytest.fixture
def cache(ready_home: Path) -> Path:
    return ready_home / "cache" / "learngenes"


def _flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _in_cache(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.suffix != ".lock"]


def test_a_pulled_learngene_is_the_registered_one(learngene: MakeLearngene, cache: Path) -> None:
    source = learngene(store="Größe #1? 100%")
    entry = register(source, "vit", metrics={})
    set_alias("vit", "champion", 1)
    for ref in ("vit", "vit:1", "vit@champion"):
        folder = resolve(ref)
        assert folder == cache / entry.digest
        assert digest_folder(folder) == digest_folder(source)
    assert Learngene.load(folder).digest == entry.digest


def test_what_is_in_the_cache_needs_no_store(learngene: MakeLearngene, cache: Path) -> None:
    source = learngene()
    entry = register(source, "vit", metrics={})
    pull("vit")
    shutil.rmtree(source)
    assert pull("vit") == cache / entry.digest


@pytest.mark.parametrize("file", [TENSORS, MANIFEST])
def test_a_damaged_copy_in_the_cache_is_fetched_again(learngene: MakeLearngene, cache: Path, file: str) -> None:
    source = learngene()
    entry = register(source, "vit", metrics={})
    _flip_last_byte(pull("vit") / file)
    assert digest_folder(pull("vit")) == digest_folder(source)
    assert _in_cache(cache) == [entry.digest]


def test_a_flipped_byte_in_the_store_is_refused_and_nothing_stays_in_the_cache(
    learngene: MakeLearngene, cache: Path
) -> None:
    source = learngene()
    register(source, "vit", metrics={})
    _flip_last_byte(source / TENSORS)
    with pytest.raises(IntegrityError, match=f"vit:1: {source / TENSORS}: digest"):
        pull("vit")
    assert _in_cache(cache) == []


def test_another_learngene_in_its_place_is_refused(learngene: MakeLearngene, cache: Path) -> None:
    source, other = learngene(1), learngene(2)
    register(source, "vit", metrics={})
    shutil.rmtree(source)
    shutil.copytree(other, source)
    with pytest.raises(IntegrityError, match=r"vit:1: .* holds .*, registered was"):
        pull("vit")
    assert _in_cache(cache) == []


def test_half_a_learngene_is_refused(learngene: MakeLearngene, cache: Path) -> None:
    source = learngene()
    register(source, "vit", metrics={})
    (source / TENSORS).unlink()
    with pytest.raises(IntegrityError, match=f"vit:1: {source / TENSORS}: missing"):
        pull("vit")
    assert _in_cache(cache) == []


def test_a_store_that_is_gone_is_said_so(learngene: MakeLearngene, cache: Path) -> None:
    source = learngene()
    register(source, "vit", metrics={})
    shutil.rmtree(source)
    with pytest.raises(NotFoundError, match=f"vit:1: {source} holds no learngene any more"):
        pull("vit")
    assert _in_cache(cache) == []


def test_pulling_one_learngene_many_times_at_once_works(learngene: MakeLearngene, cache: Path) -> None:
    entry = register(learngene(), "vit", metrics={})
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(pull, ["vit"] * 16))
    assert folders == {cache / entry.digest}
    assert Learngene.load(cache / entry.digest).digest == entry.digest
    assert _in_cache(cache) == [entry.digest]
