"""How the workers of a group meet, and through which network they talk.

This module owns the start of torch.distributed. On a private cluster the workers meet through a file of this user:
Ray knows only torch's store on TCP, which listens on every interface of the machine and asks nobody for a password.
On other clusters they talk through the interface that Ray's own address belongs to: left alone, gloo takes the one that
the host's name resolves to, on many hosts loopback, and NCCL the first one it finds.
"""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.train._internal.utils import get_address_and_port
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _setup_torch_process_group, _TorchBackend

from infra.growth import Notes
from zoo.errors import BadInputError

INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@dataclass(kw_only=True)
class GroupTorchConfig(TorchConfig):
    """torch.distributed over a store in `folder`, which all workers must reach and nobody else should, or over TCP."""

    folder: str | None
    notes: Notes
    """Where to note what room the group holds."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray starts in the process that controls the group."""
        return _GroupBackend


class _GroupBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        assert isinstance(backend_config, GroupTorchConfig)
        held = worker_group.get_worker_group_state().placement_group_handle.placement_group
        replace(backend_config.notes.read(), room=held.id.hex()).write()
        if backend_config.folder is None:
            worker_group.execute(choose_interface)
            super().on_start(worker_group, backend_config)
        else:
            _meet_in(backend_config.folder, worker_group, backend_config)


def choose_interface() -> None:
    """Let gloo and NCCL of this process use the network interface of Ray's address, where nobody chose another."""
    address = ray.util.get_node_ip_address()
    name = interface_of(address)
    for variable in INTERFACES:
        os.environ.setdefault(variable, name)


def interface_of(address: str) -> str:
    """The name of the network interface that has an address. Raises `BadInputError` where none has."""
    import psutil  # Ray brings it along

    for name, addresses in psutil.net_if_addrs().items():
        if address in {each.address.partition("%")[0] for each in addresses}:
            return name
    raise BadInputError(
        f"address: Ray calls this host {address}, which is the address of none of its network interfaces; start Ray "
        f"with another --node-ip-address, or set {' and '.join(INTERFACES)} there"
    )


def _meet_in(folder: str, worker_group: Any, config: TorchConfig) -> None:
    # A folder for every start: Ray may start a group again by itself, and a store remembers the last one.
    store = Path(tempfile.mkdtemp(prefix="store-", dir=folder)) / "store"
    # Nobody listens there, but DeepSpeed asks for them and names its shared memory after them.
    address, port = worker_group.execute_single(0, get_address_and_port)
    worker_group.execute(_set_master, address, port)
    worker_group.execute(_set_torch_distributed_env_vars)
    joining = [
        worker_group.execute_single_async(
            rank,
            _setup_torch_process_group,
            backend=config.backend,
            world_rank=rank,
            world_size=len(worker_group),
            init_method=store.as_uri(),
            timeout_s=config.timeout_s,
        )
        for rank in range(len(worker_group))
    ]
    ray.get(joining)


def _set_master(address: str, port: int) -> None:
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
