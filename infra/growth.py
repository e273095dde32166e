"""What the workers of a group tell its driver, and when they make way for a larger group.

This module owns the room that a group counts on, and the notes about it in the cluster's key-value store.
"""

import json
from dataclasses import dataclass, replace
from time import monotonic
from uuid import uuid4

from infra.resources import Resources, holds

SPACE = b"zoo"


class GroupGrows(BaseException):
    """Ends the function in all workers: there is room for more of them. No error, so nobody may handle it as one."""


@dataclass(frozen=True)
class Notes:
    """How many checkpoints a group has written over all its starts, and whether it ended in order to grow.

    `room` is Ray's placement group of the present start (hex).
    """

    key: bytes
    checkpoints: int = 0
    grows: bool = False
    room: str = ""

    @classmethod
    def new(cls) -> "Notes":
        """Of a group that has not started."""
        return cls(f"group-{uuid4().hex}".encode())

    def write(self) -> None:
        """Replace what is noted."""
        from ray.experimental.internal_kv import _internal_kv_put

        _internal_kv_put(self.key, json.dumps([self.checkpoints, self.grows, self.room]).encode(), namespace=SPACE)

    def read(self) -> "Notes":
        """What is noted now."""
        from ray.experimental.internal_kv import _internal_kv_get

        noted = _internal_kv_get(self.key, namespace=SPACE)
        return Notes(self.key, *json.loads(noted)) if noted else Notes(self.key)

    def release(self) -> None:
        """Give the room back: Ray forgets to, where a worker dies while its group is starting."""
        from ray._raylet import PlacementGroupID
        from ray.util.placement_group import PlacementGroup, remove_placement_group

        if self.room:
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(self.room))))

    def forget(self) -> None:
        """Leave nothing behind."""
        from ray.experimental.internal_kv import _internal_kv_del

        _internal_kv_del(self.key, namespace=SPACE)


@dataclass(frozen=True)
class Member:
    """A worker's view of its group: `size` workers now, `most` if there is room, no change within `settle` seconds."""

    notes: Notes
    size: int
    most: int
    resources: Resources
    settle: float


_member: Member | None = None
_began = 0.0


def join(member: Member) -> None:
    """Make this process a worker of a group."""
    global _member, _began
    _member, _began = member, monotonic()


def at_checkpoint() -> None:
    """To be called by every worker of a group after each checkpoint; outside of a group nothing happens.

    Notes the progress, and ends the function in all workers where a larger group can go on from here.
    """
    if _member is None:
        return
    from torch.distributed import broadcast_object_list, get_rank

    grows = False
    if get_rank() == 0:
        grows, noted = _should_grow(_member), _member.notes.read()
        replace(noted, checkpoints=noted.checkpoints + 1, grows=grows).write()
    if _member.size < _member.most:
        box = [grows]
        broadcast_object_list(box)
        if box[0]:
            raise GroupGrows


def free_room(resources: Resources) -> int:
    """How many more workers the living nodes have room for now. Not for a Ray client: run it on the cluster."""
    from ray._private.state import available_resources_per_node

    return sum(holds(free, resources) for free in available_resources_per_node().values())


def _should_grow(member: Member) -> bool:
    if member.size == member.most or monotonic() - _began < member.settle:
        return False
    return free_room(member.resources) > 0
