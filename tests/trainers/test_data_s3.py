"""Shards in S3, as moto's server has it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from s3fs import S3FileSystem
from shard_maker import grey, sample, tar_bytes, write_folder

from trainers.data import remote
from trainers.data.check import check_data
from trainers.data.config import WebDataset
from trainers.data.decoded import decoded
from trainers.data.identity import identity
from trainers.data.pack import Packing, write_packed
from zoo.errors import IntegrityError, NotFoundError

FOLDER = "bucket/some/shards"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3FileSystem:
    """The packed shards of a small data set in a bucket; credentials and endpoint come from the environment."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(remote, "QUICK", (0.0,))
    monkeypatch.setattr(remote, "PATIENT", (0.0,))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    write_packed(write_folder(tmp_path / "source"), tmp_path / "packed", Packing(), lambda done, of: None)
    system = S3FileSystem(use_listings_cache=False)
    if system.exists("bucket"):
        system.rm("bucket", recursive=True)
    system.mkdir("bucket")
    system.put(f"{tmp_path / 'packed'}/", f"{FOLDER}/", recursive=True)
    return system


def spec(path: str) -> WebDataset:
    return WebDataset(path=path, image_size=4, classes=2)


def check_states(path: str) -> list[tuple[str, str]]:
    return [(shard.name, shard.state) for shard in check_data(path, lambda done, of: None).wrong]


def test_shards_in_s3_are_the_data_of_the_folder(s3: S3FileSystem, tmp_path: Path) -> None:
    there = spec(f"s3://{FOLDER}")
    assert identity(there) == identity(spec(str(tmp_path / "source")))
    assert grey(decoded(there, "train").images) == list(range(12))
    assert check_states(f"s3://{FOLDER}") == []


def test_a_replaced_an_extra_and_a_missing_object_are_named(s3: S3FileSystem) -> None:
    s3.pipe_file(f"{FOLDER}/train-1.tar", tar_bytes(sample(99)))
    with pytest.raises(IntegrityError, match=r"shard train-1\.tar of s3://bucket"):
        decoded(spec(f"s3://{FOLDER}"), "train")
    s3.pipe_file(f"{FOLDER}/train-9.tar", tar_bytes(sample(99)))
    s3.rm_file(f"{FOLDER}/test-0.tar.gz")
    assert sorted(check_states(f"s3://{FOLDER}")) == [
        ("test-0.tar.gz", "missing"),
        ("train-1.tar", "wrong hash"),
        ("train-9.tar", "extra"),
    ]


def test_a_bucket_that_is_not_there_is_named(s3: S3FileSystem) -> None:
    with pytest.raises(NotFoundError, match=r"s3://nobucket/x/index\.json"):
        identity(spec("s3://nobucket/x"))
