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
        """The world of the process group that is set up (Ray Train does that), else a world of one."""
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

    def broadcast(self, values: torch.Tensor) -> None:
        """Overwrite `values` by the first worker's."""
        if self.size > 1:
            dist.broadcast(values, src=0)

    def shared_text(self, text: str) -> str:
        """The first worker's text, on every worker."""
        if self.size == 1:
            return text
        box = [text]
        dist.broadcast_object_list(box)
        return box[0]

    def barrier(self) -> None:
        """Wait until every worker is here."""
        if self.size > 1:
            dist.barrier()
