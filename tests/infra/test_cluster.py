"""The promises of `infra.cluster`, on a real Ray with real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.cluster import Cluster, connect
from infra.group import raise_if_final
from infra.resources import Demand, Placement, Resources, places
from infra.tasks import RESTARTS, FunctionFailedError, PeerLostError
from zoo.errors import BadInputError, DivergedError, NotFoundError


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # the functions below must be importable there
        patch.setenv("ZOO_HOME", "/home/of/the/driver")
        patch.delenv("DS_ACCELERATOR", raising=False)
        with connect("local", cpus=2) as cluster:
            yield cluster


# Functions that run on the workers.


def add(left: int, right: int) -> int:
    return left + right


def assigned() -> dict[str, float]:
    import ray

    return ray.get_runtime_context().get_assigned_resources()


def surroundings() -> dict[str, Any]:
    import ray.util
    import torch

    return {
        "environment": dict(os.environ),
        "node": ray.util.get_node_ip_address(),
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
    }


def fail_on_purpose(reason: str) -> None:
    raise DivergedError(f"loss: {reason}")


class StubbornError(Exception):
    """One that cannot be pickled back: its constructor wants more than the message."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def fail_by_mistake() -> None:
    raise StubbornError("a mistake ", "of the author")


def live_shortly(folder: str, lives: int) -> int:
    """Leave a mark and die, till the last life."""
    life = 1 + len(list(Path(folder).iterdir()))
    (Path(folder) / str(life)).touch()
    if life < lives:
        os._exit(1)
    return life


@dataclass(frozen=True)
class Prepare:
    """Leaves a mark for every call."""

    folder: str

    def __call__(self) -> None:
        with (Path(self.folder) / "prepared").open("a") as file:
            file.write("x")


def sum_up(folder: str, driver: int, home: str) -> None:
    """Write down what a worker sees; in the first attempt rank 1 dies, while rank 0 waits for it in a collective."""
    import torch
    import torch.distributed

    rank = torch.distributed.get_rank()
    prepared = len((Path(folder) / "prepared").read_text())
    death = Path(folder) / "death.json"
    torch.distributed.barrier()  # both have started: Ray does not start a group again that dies before
    if rank == 1 and not death.exists():
        death.write_text(json.dumps({"prepared": prepared}))
        os._exit(1)
    total = torch.tensor(rank + 1)
    torch.distributed.all_reduce(total)
    pair = torch.distributed.new_group([0, 1])  # as DeepSpeed does
    assert isinstance(pair, torch.distributed.ProcessGroup)
    torch.distributed.barrier(pair)
    facts = {
        "backend": torch.distributed.get_backend(),
        "born_with": Path("/proc/self/environ").read_text().split("\0"),
        "environment": dict(os.environ),
        "folders": [str(path) for path in Path(home).glob("zoo-group-*")],
        "listening": {str(process.pid): listening(process) for process in psutil.Process(driver).children(True)},
        "pid": str(os.getpid()),
        "prepared": prepared,
        "sum": total.item(),
        "threads": torch.get_num_threads(),
        "where": str(Path.cwd()),
    }
    (Path(folder) / f"rank-{rank}.json").write_text(json.dumps(facts))
    torch.distributed.barrier()  # till both have looked


def listening(process: psutil.Process) -> list[str]:
    """The addresses at which a process waits for connections."""
    connections = process.net_connections(kind="inet")
    return [each.laddr.ip.removeprefix("::ffff:") for each in connections if each.status == psutil.CONN_LISTEN]


def diverge(folder: str) -> None:
    """Rank 1 gives up, while rank 0 waits for it in a collective."""
    import torch
    import torch.distributed

    if torch.distributed.get_rank() == 1:
        with (Path(folder) / "attempts").open("a") as file:
            file.write("x")
        fail_on_purpose("nan")
    torch.distributed.all_reduce(torch.zeros(1))


# Tasks.


def test_a_task_returns_its_result(cluster: Cluster) -> None:
    assert cluster.run(add, 40, 2) == 42


def test_a_local_cluster_lives_on_loopback_and_inherits_the_environment(cluster: Cluster) -> None:
    found = cluster.run(surroundings)
    assert found["node"] == "127.0.0.1"
    assert found["environment"]["ZOO_HOME"] == "/home/of/the/driver"
    assert found["environment"]["DS_ACCELERATOR"] == "cpu"


def test_a_task_that_asked_for_no_gpu_sees_none(cluster: Cluster) -> None:
    assert cluster.run(surroundings)["environment"]["CUDA_VISIBLE_DEVICES"] == ""


def test_a_task_computes_with_as_many_threads_as_it_has_cpus(cluster: Cluster) -> None:
    """Also where Ray takes a process in which torch has been loaded for another size."""
    found = [cluster.run(surroundings, resources=Resources(cpus)) for cpus in (1, 2, 1)]
    assert [each["threads"] for each in found] == [1, 2, 1]
    assert len({each["pid"] for each in found}) < 3


def test_every_node_is_asked_also_by_a_process_that_has_computed(cluster: Cluster) -> None:
    cluster.run(surroundings)
    (found,) = cluster.everywhere(surroundings).values()
    assert found["threads"] == 1


def test_no_port_of_a_local_cluster_is_open_to_other_machines(cluster: Cluster) -> None:
    processes = psutil.Process().children(recursive=True)
    assert {address for process in processes for address in listening(process)} == {"127.0.0.1"}


def test_a_zoo_error_of_a_task_keeps_its_type_and_message(cluster: Cluster) -> None:
    with pytest.raises(DivergedError) as caught:
        cluster.run(fail_on_purpose, "nan")
    assert (type(caught.value), str(caught.value)) == (DivergedError, "loss: nan")
    assert "fail_on_purpose" in "".join(caught.value.__notes__)


def test_any_other_error_of_a_task_is_a_runtime_error_with_the_remote_traceback(cluster: Cluster) -> None:
    with pytest.raises(RuntimeError, match=r"in fail_by_mistake\n(.*\n)*.*StubbornError: a mistake of the author"):
        cluster.run(fail_by_mistake)


def test_a_task_whose_process_dies_without_progress_starts_three_times(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="died unexpectedly"):
        cluster.run(live_shortly, str(tmp_path), 9)
    assert len(list(tmp_path.iterdir())) == 1 + RESTARTS


def test_a_task_that_gets_on_between_its_deaths_starts_as_often_as_it_takes(cluster: Cluster, tmp_path: Path) -> None:
    lives = 2 + RESTARTS
    assert cluster.run(live_shortly, str(tmp_path), lives, progress=lambda: sorted(tmp_path.iterdir())) == lives


def test_more_than_the_cluster_has_is_refused_at_once(cluster: Cluster) -> None:
    with pytest.raises(BadInputError, match=r"add: 1 worker\(s\) of 3 CPU were asked .* with at most 2 CPU, 0 GPU"):
        cluster.run(add, 1, 1, resources=Resources(3))
    with pytest.raises(BadInputError, match=r"add: 1 worker\(s\) of 1 CPU, 99 GPU"):
        cluster.run(add, 1, 1, resources=Resources(gpus=99))
    with pytest.raises(BadInputError, match=r"sum_up: 3 worker\(s\) of 1 CPU .* can hold 2"):
        cluster.run_group(sum_up, "", workers=3)
    with pytest.raises(BadInputError, match="workers is 0"):
        cluster.run_group(sum_up, "", workers=0)


def test_all_that_can_never_be_held_is_told_together(cluster: Cluster) -> None:
    demands = {
        "fine": Demand(Resources(1, memory=2**20), 2),
        "large": Demand(Resources(memory=2**50)),
        "special": Demand(Resources(custom={"A100": 1})),
        "apart": Demand(Resources(), 2, "STRICT_SPREAD"),
        "together": Demand(Resources(), 2, "STRICT_PACK"),
    }
    large, special, apart = cluster.misfits(demands)
    assert "apart: 2 worker(s) of 1 CPU on a node each were asked for, the cluster can hold 1" in apart
    assert "large: 1 worker(s) of 1 CPU, 1.05e+06 GiB were asked for, the cluster can hold 0" in large
    assert "special: 1 worker(s) of 1 CPU, A100: 1 were asked for" in special
    assert "in all 2 CPU, 0 GPU, A100: 0" in special


def test_what_fits_alone_may_not_fit_together(cluster: Cluster) -> None:
    assert cluster.fits([Demand(Resources()), Demand(Resources())])
    assert not cluster.fits([Demand(Resources(2)), Demand(Resources())])


def test_memory_is_reserved(cluster: Cluster) -> None:
    assert cluster.run(assigned, resources=Resources(memory=64 * 2**20))["memory"] == 64 * 2**20


@pytest.mark.parametrize(("placement", "workers"), [("PACK", 5), ("STRICT_PACK", 3), ("STRICT_SPREAD", 2)])
def test_how_many_workers_find_room_depends_on_the_nodes_they_may_share(placement: Placement, workers: int) -> None:
    assert places([3, 0, 2], placement) == workers


# Groups.


@pytest.fixture(scope="module")
def group(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a group of two that had to start twice wrote down."""
    folder = tmp_path_factory.mktemp("group")
    args = (str(folder), os.getpid(), str(cluster.folder))
    cluster.run_group(sum_up, *args, workers=2, prepare=Prepare(str(folder)), placement="STRICT_PACK")
    return folder


@pytest.fixture(scope="module")
def ranks(group: Path) -> list[dict[str, Any]]:
    return [json.loads((group / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


def test_the_workers_of_a_group_compute_together(ranks: list[dict[str, Any]]) -> None:
    assert [(rank["sum"], rank["backend"]) for rank in ranks] == [(3, "gloo")] * 2


def test_the_workers_of_a_group_find_each_other_in_the_environment(ranks: list[dict[str, Any]]) -> None:
    environments = [rank["environment"] for rank in ranks]
    assert [(each["RANK"], each["LOCAL_RANK"], each["WORLD_SIZE"]) for each in environments] == [
        ("0", "0", "2"),
        ("1", "1", "2"),
    ]
    assert {each["MASTER_ADDR"] for each in environments} == {"127.0.0.1"}
    assert len({each["MASTER_PORT"] for each in environments}) == 1


def test_the_workers_of_a_group_share_the_machine(ranks: list[dict[str, Any]]) -> None:
    assert [(rank["threads"], rank["environment"]["OMP_NUM_THREADS"]) for rank in ranks] == [(1, "1")] * 2


def test_the_workers_of_a_group_get_the_environment_and_the_folder_of_the_driver(ranks: list[dict[str, Any]]) -> None:
    assert {rank["environment"]["ZOO_HOME"] for rank in ranks} == {"/home/of/the/driver"}
    assert {rank["environment"]["DS_ACCELERATOR"] for rank in ranks} == {"cpu"}
    assert {rank["where"] for rank in ranks} == {str(Path.cwd())}


def test_no_port_of_a_running_group_is_open_to_other_machines(ranks: list[dict[str, Any]]) -> None:
    """Neither of its store, nor of its sockets, nor of Ray."""
    for rank in ranks:
        assert {address for addresses in rank["listening"].values() for address in addresses} == {"127.0.0.1"}
        assert rank["listening"].keys() >= {each["pid"] for each in ranks}


def test_a_group_that_asked_for_no_gpu_sees_none_from_the_first_moment(ranks: list[dict[str, Any]]) -> None:
    """Ray Train asks torch for GPUs before the function starts."""
    assert ["CUDA_VISIBLE_DEVICES=" in rank["born_with"] for rank in ranks] == [True, True]


def test_the_files_of_a_group_lie_with_those_of_its_cluster_and_are_gone_with_the_group(
    ranks: list[dict[str, Any]],
) -> None:
    assert [len(rank["folders"]) for rank in ranks] == [1, 1]
    assert [Path(folder).exists() for folder in ranks[0]["folders"]] == [False]


def test_a_group_starts_again_when_a_worker_dies(group: Path) -> None:
    assert {path.name for path in group.iterdir()} == {"death.json", "prepared", "rank-0.json", "rank-1.json"}


def test_a_node_is_prepared_once_before_every_start(group: Path, ranks: list[dict[str, Any]]) -> None:
    """A second start may be on a node that is new."""
    assert json.loads((group / "death.json").read_text()) == {"prepared": 1}
    assert [rank["prepared"] for rank in ranks] == [2, 2]


def test_a_zoo_error_of_one_worker_ends_the_group_as_it_is(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(DivergedError) as caught:
        cluster.run_group(diverge, str(tmp_path), workers=2)
    assert (type(caught.value), str(caught.value)) == (DivergedError, "loss: nan")
    assert (tmp_path / "attempts").read_text() == "x"


def test_a_bug_is_final_and_a_lost_process_is_not() -> None:
    bug, lost, died = FunctionFailedError("a bug"), PeerLostError("a peer is lost"), OSError("the process died")
    with pytest.raises(FunctionFailedError, match="a bug"):
        raise_if_final([lost, bug])
    with pytest.raises(BadInputError, match="lr"):
        raise_if_final([died, BadInputError("lr")])
    for failures in ([died], [lost], [bug, died]):
        assert raise_if_final(list(failures)) is None


# Addresses.


@pytest.mark.parametrize("address", ["", "nonsense", "http://host:1", "host:99999", "user@host:1", "ray://host", ":1"])
def test_what_is_no_address_is_bad_input(address: str) -> None:
    with pytest.raises(BadInputError, match="legal: 'local', 'auto', 'host:port', 'ray://host:port'"), connect(address):
        pass


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nothing_answers_is_not_found(form: str) -> None:
    address = form.format(free_port())
    with pytest.raises(NotFoundError, match=address), connect(address):
        pass


def test_auto_does_not_start_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address := f"127.0.0.1:{free_port()}")
    with pytest.raises(NotFoundError, match=address), connect("auto"):
        pass


def test_cpus_belong_to_local_clusters() -> None:
    with pytest.raises(BadInputError, match="cpus: 3"), connect("host:1", cpus=3):
        pass
    with pytest.raises(BadInputError, match="cpus: 0"), connect("local", cpus=0):
        pass


ATTACH = """
import os, sys
from infra.cluster import connect
with connect(sys.argv[1]) as cluster:
    print(cluster.run(os.getenv, "ZOO_HOME"))
"""


def test_attaching_forwards_the_named_variables_and_leaves_the_cluster_running(cluster: Cluster) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    environment = os.environ | {"ZOO_HOME": "/home/of/somebody/else"}
    done = subprocess.run(
        [sys.executable, "-c", ATTACH, address], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == "/home/of/somebody/else\n"
    assert cluster.run(add, 1, 1) == 2


# The end. In processes of their own, since one process has one connection.

LIFE = """
import json, os, signal, sys
from pathlib import Path
import psutil
from infra.cluster import connect
with connect("local", cpus=1) as cluster:
    worker = cluster.run(os.getpid)
    processes = psutil.Process().children(recursive=True)
    folders = [str(path) for path in Path("/tmp").glob(f"zoo-ray-{os.getpid()}-*")]
    print(json.dumps({"worker": worker, "processes": len(processes), "folders": folders}), flush=True)
    if sys.argv[1] == "long":
        cluster.run(signal.pause)
_, alive = psutil.wait_procs(processes, timeout=20)
print(json.dumps({"alive": len(alive), "folders": [folder for folder in folders if Path(folder).exists()]}))
"""


def live(length: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen([sys.executable, "-c", LIFE, length], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_local_cluster_leaves_nothing_and_clears_up_after_one_that_was_killed() -> None:
    """`kill -9`, then the same command again, as a user would."""
    with live("long") as killed:
        assert killed.stdout
        left = json.loads(killed.stdout.readline())
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    assert gone(left["worker"])
    with live("short") as second:
        output, _ = second.communicate()
    begun, ended = (json.loads(line) for line in output.splitlines())
    assert second.returncode == 0
    assert (begun["processes"] > 3, len(begun["folders"])) == (True, 1)
    assert ended == {"alive": 0, "folders": []}
    assert [Path(folder).exists() for folder in left["folders"]] == [False]


def gone(pid: int) -> bool:
    """Whether the process ends within seconds."""
    try:
        _, alive = psutil.wait_procs([psutil.Process(pid)], timeout=20)
    except psutil.NoSuchProcess:
        return True
    return not alive


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
