"""Reading shards: what is good comes out in order, what is not is named."""

import gzip
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shard_maker import picture, sample, tar_bytes, write_shard

from trainers.data.shards import Bad, Sample, decode, read_shard
from zoo.errors import BadInputError

THREE = [*sample(1, 0), *sample(2, 1), *sample(3, 0)]


def read(path: Path) -> tuple[list[Sample], list[Bad]]:
    everything = list(read_shard(path, path.name, classes=2))
    return [s for s in everything if isinstance(s, Sample)], [b for b in everything if isinstance(b, Bad)]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_samples_come_in_the_order_of_the_shard(tmp_path: Path, name: str) -> None:
    good, bad = read(write_shard(tmp_path / name, THREE))
    assert [(s.shard, s.key, s.label) for s in good] == [
        (name, "s001", 0),
        (name, "s002", 1),
        (name, "s003", 0),
    ]
    assert [s.image for s in good] == [picture(1), picture(2), picture(3)]
    assert not bad


def test_a_tar_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    """Also between two members, where `tarfile` sees nothing wrong."""
    whole = tar_bytes(THREE)
    members_end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    path = tmp_path / "a.tar"
    for length in [*range(0, members_end + 512, 64), members_end + 511]:
        path.write_bytes(whole[:length])
        assert read(path)[1][-1].cut, length
    path.write_bytes(whole[: members_end + 512])  # only padding is missing
    assert not read(path)[1]


def test_a_gzipped_tar_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar.gz", THREE)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert read(path)[1][-1].cut, length


def test_a_changed_byte_in_a_gzipped_tar_is_noticed(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar.gz", THREE)
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # the checksum
    path.write_bytes(data)
    assert "CRC" in read(path)[1][-1].why


def test_a_broken_header_and_a_second_archive_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    data = bytearray(tar_bytes(THREE))
    data[data.index(b"s002.png")] ^= 1
    path.write_bytes(data)
    assert read(path)[1][-1].cut
    path.write_bytes(tar_bytes(THREE) + tar_bytes(sample(4)))
    assert "after the end" in read(path)[1][-1].why


def test_the_samples_before_the_damage_are_kept_and_the_place_is_named(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", THREE)
    path.write_bytes(path.read_bytes()[: tar_bytes(THREE).index(b"s003.png")])
    good, bad = read(path)
    assert [s.key for s in good] == ["s001", "s002"]
    assert "shard a.tar is damaged after sample 's002'" in str(bad[0])


@pytest.mark.parametrize("label", [b"2", b"-1"])
def test_a_label_outside_the_classes_is_refused(tmp_path: Path, label: bytes) -> None:
    path = write_shard(tmp_path / "a.tar", sample(7, label))
    with pytest.raises(BadInputError, match=rf"a\.tar.*'s007'.*{label.decode()} is outside 0\.\.1"):
        read(path)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        (sample(1, b"cat"), "b'cat' is not an integer"),
        (sample(1)[:1], "found: png"),
        (sample(1)[1:], "found: cls"),
        ([*sample(1), ("s001.jpg", picture(1, form="JPEG"))], "found: cls, jpg, png"),
    ],
)
def test_an_incomplete_or_ambiguous_sample_is_bad(tmp_path: Path, members: list[tuple[str, bytes]], why: str) -> None:
    good, bad = read(write_shard(tmp_path / "a.tar", [*members, *sample(2)]))
    assert [s.key for s in good] == ["s002"]
    assert why in bad[0].why


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", [*sample(1), sample(1)[0]])
    with pytest.raises(BadInputError, match=r"a\.tar.*duplicate"):
        read(path)


class _Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_pickles_in_a_shard_are_not_loaded(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    attack = pickle.dumps(_Attack(trap))
    pickle.loads(attack)  # noqa: S301 - to see that the attack does work
    trap.unlink()
    members = [*sample(1), ("s001.pyd", attack), ("s001.pkl", attack), ("s001.pickle", attack)]
    good, bad = read(write_shard(tmp_path / "a.tar", members))
    assert len(good) == 1
    assert not bad
    assert not trap.exists()


def test_a_name_that_webdataset_would_run_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_shard(tmp_path / "pipe:touch trap.tar", sample(1))
    good, _ = read(Path("pipe:touch trap.tar"))
    assert len(good) == 1
    assert not (tmp_path / "trap.tar").exists()


def test_reading_a_shard_turns_on_the_secure_mode(tmp_path: Path) -> None:
    read(write_shard(tmp_path / "a.tar", THREE))
    import webdataset.utils

    assert vars(webdataset.utils)["enforce_security"]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_formats_and_channels_are_decoded(form: str, channels: int) -> None:
    pixels = decode(picture(100, form=form), size=4, channels=channels)
    assert pixels.shape == (4, 4, channels)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - 100).max() <= 1


@pytest.mark.parametrize("wide", [True, False])
def test_the_centre_is_cut_after_resizing_the_short_side(wide: bool) -> None:
    strip = np.zeros((8, 24), np.uint8)
    strip[:, 8:16] = 200
    out = io.BytesIO()
    Image.fromarray(strip if wide else strip.T).save(out, "PNG")
    assert (np.abs(decode(out.getvalue(), size=4, channels=1)[1:3, 1:3].astype(int) - 200) <= 3).all()
    assert (decode(out.getvalue(), size=8, channels=1) == 200).all()


def test_other_formats_and_deep_pixels_are_refused() -> None:
    for mode, form in (("RGB", "GIF"), ("I;16", "PNG")):
        out = io.BytesIO()
        Image.new(mode, (4, 4)).save(out, form)
        with pytest.raises((OSError, ValueError), match=r"cannot identify|I;16"):
            decode(out.getvalue(), size=4, channels=3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_an_error_from_the_limit_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(picture(1, (10, 10)), size=4, channels=3).shape == (4, 4, 3)
    with pytest.raises(Image.DecompressionBombError):
        decode(picture(1, (10, 11)), size=4, channels=3)


def test_a_zipped_tar_is_recognised_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(gzip.compress(tar_bytes(THREE)))
    assert len(read(path)[0]) == 3
