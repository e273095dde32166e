"""`World`: which of how many workers this process is, and the few collectives that the loop needs."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class World:
    """One worker among `size`; `device` is where its model lives."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def current(cls) -> "World":
        """The running process group's world (set up by Ray Train or torchrun), else a world of one."""
        grouped = dist.is_available() and dist.is_initialized()
        rank, size = (dist.get_rank(), dist.get_world_size()) if grouped else (0, 1)
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        cuda = torch.cuda.is_available()
        return cls(rank, size, torch.device("cuda", local_rank) if cuda else torch.device("cpu"))

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over all workers, the same on every worker."""
        return self.sum(values) / self.size

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all workers, the same on every worker."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Wait until every worker is here."""
        if self.size > 1:
            dist.barrier()
