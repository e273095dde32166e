"""Packing: every form of source, the same bytes every time, all or nothing."""

import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_maker import picture, write_folder

from trainers.data.config import Text, WebDataset
from trainers.data.decoded import decoded
from trainers.data.identity import identity
from trainers.data.index import INDEX, Index
from trainers.data.pack import Packing, write_packed
from trainers.data.text import documents
from zoo.errors import BadInputError, NotFoundError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def pack(source: Path, out: Path, **fields: object) -> Index:
    return write_packed(source, out, Packing(**fields), lambda done, of: None)  # pyright: ignore[reportArgumentType]


def by_class(folder: Path) -> Path:
    """Ten training images of cats (even greys) and dogs (odd greys), two test images."""
    for part, numbers in (("train", range(10)), ("val", range(100, 102))):
        for number in numbers:
            path = folder / part / ("dog" if number % 2 else "cat") / f"{number:03d}.v2.PNG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(number))
    return folder


def table(path: Path, images: list[object], labels: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, "label": labels, "note": ["x"] * len(labels)}), path)


def spec(path: Path, **fields: object) -> WebDataset:
    return WebDataset.model_validate({"path": str(path), "image_size": 4, "classes": 2, **fields})


def samples(path: Path) -> dict[int, int]:
    """The label of every grey value in both parts."""
    found: dict[int, int] = {}
    for part in ("train", "test"):
        images = decoded(spec(path), part)
        found |= dict(zip(images.images[:, 0, 0, 0].tolist(), images.labels.tolist(), strict=True))
    return found


def test_folders_by_class_become_samples_with_the_number_of_their_class(tmp_path: Path) -> None:
    index = pack(by_class(tmp_path / "source"), tmp_path / "out", test="val*")
    assert index.classes == ("cat", "dog")
    assert samples(tmp_path / "out") == {number: number % 2 for number in (*range(10), 100, 101)}


def test_the_first_images_of_folders_by_class_are_of_all_classes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(60):
        path = source / ("test" if number > 50 else "train") / str(number // 30) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    pack(source, tmp_path / "out")
    assert set(decoded(spec(tmp_path / "out", limit=10), "train").labels.tolist()) == {0, 1}


def test_the_same_source_gives_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    one = by_class(tmp_path / "source")
    other = shutil.copytree(one, tmp_path / "elsewhere", copy_function=shutil.copyfile)  # with other times
    pack(one, tmp_path / "a", test="val*", shard_bytes=4000)
    pack(other, tmp_path / "b", test="val*", shard_bytes=4000)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) > 3
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_shards_are_no_larger_than_asked_and_the_index_counts_their_samples(tmp_path: Path) -> None:
    index = pack(by_class(tmp_path / "source"), tmp_path / "out", test="val*", shard_bytes=2 * 2048)
    assert [shard.samples for shard in index.shards] == [2, 2, 2, 2, 2, 2]
    for shard in index.shards:
        with tarfile.open(tmp_path / "out" / shard.name) as archive:
            assert len(archive.getnames()) == 2 * shard.samples
    assert Index.model_validate_json((tmp_path / "out" / INDEX).read_bytes()) == index


@pytest.mark.parametrize("nested", [True, False])
def test_tables_of_images_become_samples(tmp_path: Path, nested: bool) -> None:
    def column(numbers: range) -> list[object]:
        return [{"bytes": picture(n), "path": None} if nested else picture(n) for n in numbers]

    table(tmp_path / "source" / "train-0.parquet", column(range(3)), [0, 1, 0])
    table(tmp_path / "source" / "train-1.parquet", column(range(3, 5)), [1, 0])
    table(tmp_path / "source" / "test-0.parquet", column(range(9, 10)), [1])
    index = pack(tmp_path / "source", tmp_path / "out")
    assert index.classes is None
    assert samples(tmp_path / "out") == {0: 0, 1: 1, 2: 0, 3: 1, 4: 0, 9: 1}


def test_labels_of_a_table_that_are_names_are_numbered_in_their_order(tmp_path: Path) -> None:
    table(tmp_path / "source" / "train.parquet", [picture(1), picture(2)], ["dog", "cat"])
    table(tmp_path / "source" / "test.parquet", [picture(3)], ["dog"])
    assert pack(tmp_path / "source", tmp_path / "out").classes == ("cat", "dog")
    assert samples(tmp_path / "out") == {1: 1, 2: 0, 3: 1}


def test_packed_shards_are_the_data_they_were(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source")
    index = pack(source, tmp_path / "out")
    assert [shard.samples for shard in index.shards] == [4, 4, 4, 2]
    assert identity(spec(tmp_path / "out")) == identity(spec(source))


def text_spec(path: Path) -> Text:
    return Text(path=str(path), task="causal", length=8, vocab=261)


def read(path: Path) -> list[str]:
    return ["".join(chunks) for chunks in documents(text_spec(path), "train")]


def test_packed_texts_are_the_data_they_were(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, text in (("train-b.md", "second\nöl"), ("train-a.txt", "first\r\n"), ("test.txt", "third")):
        (source / name).write_text(text, encoding="utf-8", newline="")
    index = pack(source, tmp_path / "out")
    assert [(shard.name, shard.samples) for shard in index.shards] == [
        ("train-000000.txt", 1),
        ("train-000001.txt", 2),
        ("test-000000.txt", 1),
    ]
    assert identity(text_spec(tmp_path / "out")) == identity(text_spec(source))


def test_a_text_larger_than_a_shard_is_cut_at_the_ends_of_lines(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.txt").write_text("one\ntwo\nthree\na line longer than a shard\nend", encoding="utf-8")
    (source / "test.txt").write_text("x", encoding="utf-8")
    pack(source, tmp_path / "out", shard_bytes=8)
    assert read(tmp_path / "out") == ["one\ntwo\n", "three\n", "a line longer than a shard\n", "end"]


def damage_image(source: Path) -> None:
    (source / "train" / "cat" / "004.v2.PNG").write_bytes(b"GIF89a")


def new_class(source: Path) -> None:
    shutil.copytree(source / "val" / "cat", source / "val" / "bird")


def one_class(source: Path) -> None:
    shutil.rmtree(source / "train" / "dog")


def no_test(source: Path) -> None:
    shutil.rmtree(source / "val")


def mixed(source: Path) -> None:
    (source / "train.txt").write_text("x")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damage_image, r"004\.v2\.PNG: not an image.*JPEG, PNG, WebP"),
        (new_class, r"bird: no class .*cat, dog"),
        (one_class, r"1 folders of classes"),
        (no_test, r"--test: nothing in .*'val\*'; there is: train"),
        (mixed, r"folders and files"),
    ],
)
def test_a_source_that_cannot_be_packed_is_refused_by_place_and_leaves_nothing(
    tmp_path: Path, spoil: object, message: str
) -> None:
    source = by_class(tmp_path / "source")
    assert callable(spoil)
    spoil(source)
    with pytest.raises(BadInputError, match=message):
        pack(source, tmp_path / "work" / "out", test="val*")
    assert not (tmp_path / "work").exists() or not [*(tmp_path / "work").iterdir()]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([picture(1), None], [0, 1], r"train\.parquet, row 1: column 'image' holds no image bytes"),
        ([picture(1), picture(2)], [0, -1], r"row 1: label -1; legal: a number from 0"),
        ([picture(1), b"?"], [0, 1], r"row 1: not an image"),
    ],
)
def test_rows_that_cannot_be_packed_are_named(
    tmp_path: Path, images: list[object], labels: list[object], message: str
) -> None:
    table(tmp_path / "source" / "train.parquet", images, labels)
    table(tmp_path / "source" / "test.parquet", [picture(1)], [0])
    with pytest.raises(BadInputError, match=message):
        pack(tmp_path / "source", tmp_path / "out")


def test_a_table_without_the_column_says_which_there_are(tmp_path: Path) -> None:
    for part in ("train", "test"):
        table(tmp_path / "source" / f"{part}.parquet", [picture(1)], [0])
    with pytest.raises(BadInputError, match=r"--image: .*no column 'img'; legal: image, label, note"):
        pack(tmp_path / "source", tmp_path / "out", image="img")
    (tmp_path / "source" / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInputError, match=r"train\.parquet: no Parquet table"):
        pack(tmp_path / "source", tmp_path / "out")


def test_a_text_that_is_not_utf8_and_a_damaged_shard_are_named(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "test.txt").write_bytes(b"x")
    (texts / "train.txt").write_bytes(b"good\n\xff\n")
    with pytest.raises(BadInputError, match=r"train\.txt, line 2: not UTF-8"):
        pack(texts, tmp_path / "out")
    shards = write_folder(tmp_path / "shards")
    (shards / "train-1.tar").write_bytes((shards / "train-1.tar").read_bytes()[:3000])
    with pytest.raises(BadInputError, match=r"train-1\.tar is damaged after sample 's004'"):
        pack(shards, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BadInputError, match="there already"):
        pack(by_class(tmp_path / "source"), out, test="val*")
    with pytest.raises(NotFoundError, match="nowhere"):
        pack(tmp_path / "nowhere", tmp_path / "new")


def test_a_name_cannot_be_in_both_parts(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"train is matched by both"):
        pack(by_class(tmp_path / "source"), tmp_path / "out", test="*")


def test_progress_ends_with_all_of_it(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    packing = Packing(test="val*")
    write_packed(by_class(tmp_path / "source"), tmp_path / "out", packing, lambda *call: calls.append(call))
    assert calls == [(number, 12) for number in range(1, 13)]
