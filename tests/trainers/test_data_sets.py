"""Splits: disjoint, always the same, every class in proportion."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_maker import grey, write_folder
from sklearn.datasets import load_digits

from trainers.data.config import Digits, Split, WebDataset
from trainers.data.identity import identity
from trainers.data.sets import ImageSet, open_images
from trainers.data.shards import Sample, read_shard
from trainers.data.split import held_out
from zoo.errors import BadInputError

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10"
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


def contents(data: ImageSet) -> list[bytes]:
    return [
        data.images[row].tobytes() + bytes([label]) for row, label in zip(data.rows, data.labels.tolist(), strict=True)
    ]


def test_the_splits_of_digits_are_all_of_it_and_disjoint() -> None:
    found = [content for split in SPLITS for content in contents(open_images(Digits(), split))]
    pixels, labels = (np.asarray(array) for array in load_digits(return_X_y=True))
    images = np.round(pixels * 255 / 16).astype(np.uint8)
    expected = [i.tobytes() + bytes([label]) for i, label in zip(images, labels.tolist(), strict=True)]
    assert sorted(found) == sorted(expected)
    assert [len(open_images(Digits(), split)) for split in SPLITS] == [1295, 143, 359]


def test_every_split_of_digits_has_the_classes_in_proportion() -> None:
    whole = np.bincount(np.asarray(load_digits(return_X_y=True)[1])) / 1797
    for split in SPLITS:
        data = open_images(Digits(), split)
        assert np.abs(np.bincount(data.labels) - whole * len(data)).max() <= 2


def test_splits_are_the_same_in_another_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = [contents(open_images(Digits(), split)) for split in SPLITS]
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "another"))
    assert [contents(open_images(Digits(), split)) for split in SPLITS] == here


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.floats(0, 0.5))
def test_held_out_takes_the_share_of_every_class(labels: list[int], share: float) -> None:
    array = np.array(labels)
    mask = held_out(array, share)
    assert mask.sum() == np.floor(len(labels) * share)
    for label in set(labels):
        assert abs(mask[array == label].sum() - share * (array == label).sum()) < 1 + 1e-9


def test_validation_is_cut_from_the_limited_training_samples(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", shards=3, samples=10)
    spec = WebDataset(path=str(folder), image_size=4, classes=2, limit=20, validation=0.2)
    train, validation, test = (open_images(spec, split) for split in SPLITS)
    both = grey(train.images[train.rows]) + grey(validation.images[validation.rows])
    assert sorted(both) == list(range(20))
    assert np.bincount(validation.labels).tolist() == [2, 2]
    assert grey(test.images[test.rows]) == [200, 201]
    assert train.mean == validation.mean == test.mean


def test_a_share_that_leaves_no_validation_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"data\.validation: the share 0\.0 of 1438"):
        open_images(Digits(validation=0.0), "validation")
    with pytest.raises(BadInputError, match=r"data\.validation: the share 0\.1 of 5"):
        open_images(Digits(limit=5), "validation")
    assert len(open_images(Digits(validation=0.0), "train")) == 1438


@pytest.mark.skipif(not CIFAR.is_dir(), reason="../shared/data/cifar10 is not there")
def test_cifar10_opens_and_its_labels_are_the_names_of_its_keys() -> None:
    spec = WebDataset(path=str(CIFAR), image_size=32, classes=10, limit=600)
    assert len(identity(spec)["shards"]["train"]) == 10
    train, validation = open_images(spec, "train"), open_images(spec, "validation")
    assert (len(train), len(validation)) == (540, 60)
    assert train.mean == pytest.approx((0.49, 0.48, 0.45), abs=0.02)
    names = (CIFAR / "classes.txt").read_text().split()
    for sample in read_shard(CIFAR / "train-000.tar.gz", "train-000.tar.gz", 10):
        assert isinstance(sample, Sample)
        assert sample.key.startswith(names[sample.label])
