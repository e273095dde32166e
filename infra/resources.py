"""What a worker needs, and what a cluster can hold: asked before Ray is, for Ray itself would wait for ever."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.errors import BadInputError

GIB = 2**30


@dataclass(frozen=True)
class Resources:
    """Of one worker. `memory` in bytes, null: not reserved; `custom`: what the nodes were started with by that name."""

    cpus: int = 1
    gpus: int = 0
    memory: int | None = None
    custom: Mapping[str, float] = field(default_factory=dict)

    def times(self, workers: int) -> "Resources":
        """Of so many workers together."""
        memory, custom = self.memory and self.memory * workers, {name: n * workers for name, n in self.custom.items()}
        return Resources(self.cpus * workers, self.gpus * workers, memory, custom)

    def amounts(self) -> dict[str, float]:
        """By Ray's names, without zeros."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0, **self.custom}
        return {name: amount for name, amount in named.items() if amount}

    def options(self) -> dict[str, Any]:
        """For a task of Ray."""
        plain = {"num_cpus": self.cpus, "num_gpus": self.gpus, "resources": dict(self.custom)}
        return plain | ({"memory": self.memory} if self.memory else {})


ONE_CPU, NOTHING = Resources(), Resources(cpus=0)

Placement = Literal["PACK", "STRICT_PACK", "STRICT_SPREAD"]
"""Ray's words: on few nodes where possible, all on one node, each on a node of its own."""


@dataclass(frozen=True)
class Demand:
    """What has to be there at once: `workers` of the same size."""

    resources: Resources
    workers: int = 1
    placement: Placement = "PACK"


def places(counts: Iterable[int], placement: Placement) -> int:
    """How many workers of a group find room where each node could hold so many."""
    if placement == "STRICT_PACK":
        return max(counts, default=0)
    return sum(min(count, 1) if placement == "STRICT_SPREAD" else count for count in counts)


def text(amounts: Mapping[str, float]) -> str:
    """`2 CPU, 1 GPU, 4 GiB, A100: 1`."""
    units = {"CPU": "{:g} CPU", "GPU": "{:g} GPU"}
    parts = [units[name].format(amount) for name, amount in amounts.items() if name in units]
    parts += [f"{amounts['memory'] / GIB:.3g} GiB"] if "memory" in amounts else []
    return ", ".join(parts + [f"{name}: {n:g}" for name, n in amounts.items() if name not in (*units, "memory")])


def nodes_with_room(resources: Resources) -> dict[str, int]:
    """How many workers of that size each living node could hold if it were idle; only nodes that hold any."""
    room = {node: holds(total, resources) for node, total in _nodes().items()}
    return {node: count for node, count in room.items() if count}


def check_room(name: str, demand: Demand) -> None:
    """Raise `BadInputError` at once where Ray would wait for ever: for sizes below 1, and for more than there is."""
    sizes = (("workers", demand.workers, 1), ("cpus", demand.resources.cpus, 1), ("gpus", demand.resources.gpus, 0))
    for what, value, least in sizes:
        if value < least:
            raise BadInputError(f"{name}: {what} is {value}; legal: a whole number from {least} on")
    if wrong := misfits({name: demand}):
        raise BadInputError(*wrong)


def misfits(demands: Mapping[str, Demand]) -> list[str]:
    """A line for each of them that the cluster can never hold, even when idle; none where it may grow."""
    nodes = _nodes()
    lines: list[str] = []
    for name, demand in demands.items():
        room = places([holds(total, demand.resources) for total in nodes.values()], demand.placement)
        if room < demand.workers:
            lines.append(f"{name}: {_misfit(demand, room, list(nodes.values()))}")
    return [] if not lines or may_grow() else lines


def fits(demands: Iterable[Demand]) -> bool:
    """Whether the cluster has as much in all as they ask for together; always where it may grow."""
    import ray

    total = ray.cluster_resources()
    asked: dict[str, float] = {}
    for demand in demands:
        for kind, amount in demand.resources.amounts().items():
            asked[kind] = asked.get(kind, 0) + demand.workers * amount
    return all(amount <= total.get(kind, 0) for kind, amount in asked.items()) or may_grow()


def may_grow() -> bool:
    """Whether the cluster has an autoscaler; asked on the cluster, for a client has no access to that."""
    import ray

    return ray.get(ray.remote(_has_autoscaler).options(num_cpus=0).remote())


def _has_autoscaler() -> bool:
    from ray._private.state import state

    return state.get_max_resources_from_cluster_config() is not None


def _nodes() -> dict[str, dict[str, float]]:
    """What each living node that takes work has."""
    import ray

    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def holds(total: Mapping[str, float], resources: Resources) -> int:
    """How many workers of that size fit into a node that has `total`, or has it free."""
    return min(int(total.get(kind, 0) // amount) for kind, amount in resources.amounts().items())


def _misfit(demand: Demand, room: int, nodes: list[dict[str, float]]) -> str:
    kinds = dict.fromkeys(("CPU", "GPU", *demand.resources.amounts()))
    largest = {kind: max((node.get(kind, 0) for node in nodes), default=0) for kind in kinds}
    total = {kind: sum(node.get(kind, 0) for node in nodes) for kind in kinds}
    where = {"PACK": "", "STRICT_PACK": " on one node", "STRICT_SPREAD": " on a node each"}[demand.placement]
    asked = f"{demand.workers} worker(s) of {text(demand.resources.amounts())}{where} were asked for"
    return (
        f"{asked}, the cluster can hold {room}: {len(nodes)} node(s) with at most {text(largest)}, in all {text(total)}"
    )
