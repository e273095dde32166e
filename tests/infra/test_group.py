"""Groups of workers that lose some of them, and change their size: on a real Ray with three CPUs."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import pytest

from infra import group as group_module
from infra.cluster import Cluster, connect
from infra.group import Group
from infra.growth import at_checkpoint
from infra.resources import Resources
from infra.tasks import submit
from zoo.errors import BadInputError

PATIENCE = 300.0
"""Seconds after which these tests give up waiting: many more than they take, many fewer than torch would wait."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # the functions below must be importable there
        patch.setenv("RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S", "3")
        patch.setattr(group_module, "BACKOFF_SECONDS", 0.5)
        patch.setattr(group_module, "RETURN_SECONDS", 1.0)
        with connect("local", cpus=3) as cluster:
            yield cluster


def note(folder: str, text: str) -> int:
    """Append a line; how many there are."""
    path = Path(folder) / "notes"
    with path.open("a") as file:
        file.write(text + "\n")
    return len(path.read_text().splitlines())


def notes(folder: Path) -> list[str]:
    return (folder / "notes").read_text().splitlines()


# Functions that run on the workers.


@dataclass(frozen=True)
class Deadly:
    """Ends the process of rank 1 that unpickles it first: while the group is still starting."""

    folder: str

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return unpickled, (self.folder,)


def unpickled(folder: str) -> Deadly:
    death = Path(folder, "death")
    if os.environ.get("RANK") == "1" and not death.exists():
        death.touch()
        os._exit(1)
    return Deadly(folder)


def survive(deadly: Deadly) -> None:
    if os.environ["RANK"] == "0":
        note(deadly.folder, "done")


def die_after_a_checkpoint(folder: str, times: int) -> None:
    at_checkpoint()
    if note(folder, "start") <= times:
        os._exit(1)


def die_at_once(folder: str) -> None:
    note(folder, "start")
    os._exit(1)


def fall_silent(folder: str) -> None:
    """Rank 1 stops in the first start, as a host does that is cut off: no connection is closed."""
    import torch.distributed

    torch.distributed.barrier()
    if os.environ["RANK"] == "1" and note(folder, "start") == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    torch.distributed.barrier()


def hold(pipe: str) -> None:
    """Keep CPUs from others until somebody writes."""
    Path(pipe).read_text()


def lose_room_and_get_it_back(folder: str) -> None:
    """With three workers one dies at first, with one the room comes back, with three again all is well."""
    import torch.distributed

    torch.distributed.barrier()
    size, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    count = note(folder, str(size)) if rank == 0 else 0
    torch.distributed.barrier()
    if count == 1:
        Path(folder, "here").write_text("three workers run")
        Path(folder, "queued").read_text()
        os._exit(1)
    if size == 3:
        torch.distributed.barrier()
        return
    Path(folder, "free").write_text("go")
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        at_checkpoint()
    raise TimeoutError("the group did not grow")


# Losses.


def test_a_group_starts_again_when_a_worker_dies_while_it_is_starting(cluster: Cluster, tmp_path: Path) -> None:
    cluster.run_group(survive, Deadly(str(tmp_path)), workers=2)
    assert (tmp_path / "death").exists()
    assert "done" in notes(tmp_path)


def test_a_group_that_makes_progress_survives_any_number_of_losses(cluster: Cluster, tmp_path: Path) -> None:
    cluster.run_group(die_after_a_checkpoint, str(tmp_path), 3, workers=1)
    assert notes(tmp_path) == ["start"] * 4


def test_a_group_that_dies_thrice_without_a_new_checkpoint_ends(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lost in each of 3 attempts, with no new checkpoint between them; the last"):
        cluster.run_group(die_at_once, str(tmp_path), workers=1)
    assert notes(tmp_path) == ["start"] * 3


def test_a_worker_that_does_not_answer_is_given_up_within_a_bounded_time(cluster: Cluster, tmp_path: Path) -> None:
    """torch alone would wait for half an hour."""
    began = monotonic()
    cluster.run_group(fall_silent, str(tmp_path), workers=2)
    assert notes(tmp_path) == ["start", "start"]
    assert monotonic() - began < PATIENCE


# Sizes.


def test_an_elastic_group_runs_on_what_is_left_and_grows_again_at_a_checkpoint(
    cluster: Cluster, tmp_path: Path
) -> None:
    for name in ("here", "queued", "free"):
        os.mkfifo(tmp_path / name)

    def take_room() -> None:
        (tmp_path / "here").read_text()
        submit(hold, (str(tmp_path / "free"),), Resources(cpus=2))  # waits for what the group holds
        (tmp_path / "queued").write_text("go")

    Thread(target=take_room, daemon=True).start()
    group = Group(3, Resources(), None, cluster.folder, min_workers=1, settle=0)
    group.run(lose_room_and_get_it_back, (str(tmp_path),))
    assert notes(tmp_path) == ["3", "1", "3"]


def test_an_elastic_group_wants_room_for_its_least_number_only(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"die_at_once: 4 worker\(s\)"):
        cluster.run_group(die_at_once, str(tmp_path), workers=5, min_workers=4)
    cluster.run_group(die_after_a_checkpoint, str(tmp_path), 0, workers=5, min_workers=1)
    assert len(notes(tmp_path)) == 3


# Networks.


def test_the_interface_of_an_address_is_found_or_the_host_is_refused(cluster: Cluster) -> None:
    from infra.rendezvous import interface_of  # loads ray, whose settings the cluster makes

    assert interface_of("127.0.0.1") == "lo"
    with pytest.raises(BadInputError, match=r"192\.0\.2\.1.* none of its network interfaces; .*--node-ip-address"):
        interface_of("192.0.2.1")


def test_workers_talk_through_the_interface_of_rays_address_unless_another_is_chosen(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.rendezvous import INTERFACES, choose_interface

    monkeypatch.setenv(INTERFACES[0], "chosen0")
    monkeypatch.delenv(INTERFACES[1], raising=False)
    choose_interface()
    assert [os.environ[variable] for variable in INTERFACES] == ["chosen0", "lo"]
