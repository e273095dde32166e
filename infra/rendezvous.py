"""How the workers of a group meet on one machine: through a file of this user, not through a port.

This module owns the start of torch.distributed on a private cluster. Ray knows only torch's store on TCP, which
listens on every interface of the machine and asks nobody for a password.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train._internal.utils import get_address_and_port
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _setup_torch_process_group, _TorchBackend


@dataclass(kw_only=True)
class FileTorchConfig(TorchConfig):
    """torch.distributed over a store in `folder`, which all workers must reach and nobody else should."""

    folder: str

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray starts in the process that controls the group."""
        return _FileTorchBackend


class _FileTorchBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        assert isinstance(backend_config, FileTorchConfig)
        # A folder for every start: Ray may start a group again by itself, and a store remembers the last one.
        store = Path(tempfile.mkdtemp(prefix="store-", dir=backend_config.folder)) / "store"
        # Nobody listens there, but DeepSpeed asks for them and names its shared memory after them.
        address, port = worker_group.execute_single(0, get_address_and_port)
        worker_group.execute(_set_master, address, port)
        worker_group.execute(_set_torch_distributed_env_vars)
        joining = [
            worker_group.execute_single_async(
                rank,
                _setup_torch_process_group,
                backend=backend_config.backend,
                world_rank=rank,
                world_size=len(worker_group),
                init_method=store.as_uri(),
                timeout_s=backend_config.timeout_s,
            )
            for rank in range(len(worker_group))
        ]
        ray.get(joining)


def _set_master(address: str, port: int) -> None:
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
