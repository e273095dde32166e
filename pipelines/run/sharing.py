"""Whether all nodes of a cluster see one folder: better asked at once than found out after a training."""

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from zoo.errors import NotFoundError

if TYPE_CHECKING:
    from infra.cluster import Cluster


def check_shared(root: Path, cluster: "Cluster", field: str = "ZOO_HOME") -> None:
    """Raise `NotFoundError` naming the nodes that do not see what this process writes in the folder of `field`."""
    root.mkdir(parents=True, exist_ok=True)
    probe = root / f".probe-{uuid4().hex}"
    probe.touch()
    try:
        blind = [node for node, sees in cluster.everywhere(is_there, str(probe)).items() if not sees]
    finally:
        probe.unlink()
    if blind:
        raise NotFoundError(
            f"{field}: the folder {root} is not there on {', '.join(sorted(blind))}; all nodes and the run itself must"
            f" share it: set {field} to a folder of a shared file system, on every node"
        )


def is_there(path: str) -> bool:
    """Whether this node has the file."""
    return Path(path).is_file()
