"""The cache of decoded images of a node."""

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from shard_maker import grey, sample, tar_bytes, write_folder, write_shard

import trainers.data.decoded
from trainers.data.config import Digits, Part, WebDataset
from trainers.data.decoded import decoded
from zoo.errors import BadInputError, IntegrityError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


def spec(path: Path, **fields: object) -> WebDataset:
    return WebDataset.model_validate({"path": str(path), "image_size": 4, "classes": 2, **fields})


def entry(home: Path) -> Path:
    """The one folder of the cache."""
    (found,) = [path for path in (home / "cache" / "data").iterdir() if path.is_dir()]
    return found


def test_images_come_in_the_order_of_the_shards(folder: Path) -> None:
    images = decoded(spec(folder), "train")
    assert grey(images.images) == list(range(12))
    assert images.labels.tolist() == [n % 2 for n in range(12)]
    assert isinstance(images.images, np.memmap)
    assert images.images.dtype == np.uint8
    assert images.labels.dtype == np.int64


def test_more_samples_than_a_chunk_keep_their_order(tmp_path: Path) -> None:
    write_folder(tmp_path / "many", shards=2, samples=99)
    images = decoded(spec(tmp_path / "many"), "train")
    assert grey(images.images) == list(range(198))


def test_mean_and_deviation_are_those_of_the_pixels(folder: Path) -> None:
    images = decoded(spec(folder), "train")
    pixels = images.images / 255
    assert images.mean == pytest.approx(pixels.mean((0, 1, 2)))
    assert images.std == pytest.approx(pixels.std((0, 1, 2)))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that images are decoded into."""
    folders: list[Path] = []
    real = trainers.data.decoded.write_shards

    def watched(spec: WebDataset, part: Part, limit: int | None, folder: Path) -> None:
        folders.append(folder)
        real(spec, part, limit, folder)

    monkeypatch.setattr(trainers.data.decoded, "write_shards", watched)
    return folders


def test_the_second_time_nothing_is_decoded(folder: Path, written: list[Path]) -> None:
    for max_bad in (0.0, 0.5):
        decoded(spec(folder, max_bad=max_bad), "train")
        assert len(written) == 1


def test_of_many_at_once_one_decodes(folder: Path, written: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(decoded, spec(folder), "train") for _ in range(4)]
    assert [grey(job.result().images) for job in jobs] == [list(range(12))] * 4
    assert len(written) == 1


def test_the_limit_takes_the_first_samples_of_train_only(folder: Path) -> None:
    assert grey(decoded(spec(folder, limit=5), "train").images) == [0, 1, 2, 3, 4]
    assert grey(decoded(spec(folder, limit=1), "test").images) == [200, 201]


def test_an_undecodable_image_is_refused_with_its_place_and_the_counts(folder: Path) -> None:
    broken = [("s090.png", b"not a png"), ("s090.cls", b"0")]
    write_shard(folder / "train-1.tar", [*sample(4), *broken, *sample(6)])
    with pytest.raises(BadInputError, match=r"data\.max_bad: 0\.0 .*of 11 samples 1 .*train-1\.tar.*'s090'"):
        decoded(spec(folder), "train")


def test_bad_samples_are_skipped_counted_and_logged_up_to_max_bad(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [("s090.png", sample(9)[0][1][:40]), ("s090.cls", b"0")]
    write_shard(folder / "train-1.tar", [*sample(4), *broken, *sample(6), *sample(7, b"x")])
    with caplog.at_level(logging.WARNING):
        images = decoded(spec(folder, max_bad=2 / 12), "train")
    assert grey(images.images) == [0, 1, 2, 3, 4, 6, 8, 9, 10, 11]
    assert (images.bad, images.lost) == (2, 0)
    assert "of 12 samples 2 cannot be used" in caplog.text
    with pytest.raises(BadInputError, match=r"data\.max_bad: 0\.1 is exceeded"):
        decoded(spec(folder, max_bad=0.1), "train")  # from the cache


def test_what_a_damaged_shard_lost_is_estimated_from_the_whole_ones(folder: Path) -> None:
    shard = folder / "train-1.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[: data.index(b"s005.png")])
    with pytest.raises(BadInputError, match=r"about 3 are lost with 1 damaged shards.*train-1\.tar"):
        decoded(spec(folder, max_bad=0.2), "train")
    images = decoded(spec(folder, max_bad=0.25), "train")
    assert (images.bad, images.lost) == (0, 3)
    assert grey(images.images) == [0, 1, 2, 3, 4, 8, 9, 10, 11]


def test_nothing_usable_is_refused_whatever_is_tolerated(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", [("s1.png", b"x"), ("s1.cls", b"0")])
    with pytest.raises(BadInputError, match=r"data\.train: .* no usable sample.*'s1'"):
        decoded(spec(tmp_path, max_bad=0.9), "train")


def test_a_decoded_array_over_the_limit_is_refused_and_leaves_nothing(folder: Path, home: Path) -> None:
    with pytest.raises(BadInputError, match=r"data\.max_decoded_gb.*576 bytes after 12 samples"):
        decoded(spec(folder, max_decoded_gb=575e-9), "train")
    assert not [path for path in (home / "cache" / "data").iterdir() if path.is_dir()]
    assert len(decoded(spec(folder, max_decoded_gb=576e-9), "train").labels) == 12


def test_what_a_killed_process_left_behind_is_cleared(folder: Path, home: Path) -> None:
    decoded(spec(folder), "train")
    target = entry(home)
    abandoned = target.with_name(f".{target.name}.killed")
    shutil.move(target, abandoned)
    assert len(decoded(spec(folder), "train").labels) == 12
    assert entry(home) == target


def test_a_damaged_cache_is_named(folder: Path, home: Path) -> None:
    decoded(spec(folder), "train")
    with (entry(home) / "images.npy").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(IntegrityError, match=entry(home).name):
        decoded(spec(folder), "train")


def test_changed_shards_are_decoded_anew(folder: Path) -> None:
    decoded(spec(folder), "train")
    (folder / "train-0.tar").write_bytes(tar_bytes(sample(77)))
    assert grey(decoded(spec(folder), "train").images)[0] == 77


def test_digits_are_cached_like_shards(home: Path) -> None:
    first = decoded(Digits(limit=20), "train")
    assert first.images.shape == (20, 8, 8, 1)
    assert first.images.max() == 255
    assert entry(home).is_dir()
    assert (decoded(Digits(limit=20), "train").images == first.images).all()
