"""What the pods of runs have in common: least rights, the shared volume, settings and secrets by reference.

The names that the pods refer to are those of `infra/k8s`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]

FILES = "/etc/zoo"
"""Where a run finds its files."""
HOME = "/zoo"
"""The volume that all pods share, their ZOO_HOME and their working directory."""
KUBECTL = "registry.k8s.io/kubectl:v1.37.0"

_GIB_PER_CPU, _GIB_PER_GPU = 4, 16
_NOT_ROOT = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
_NO_RIGHTS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_ENVIRONMENT = [
    {"configMapRef": {"name": "zoo-settings"}},
    {"secretRef": {"name": "zoo-registry"}},
    {"secretRef": {"name": "zoo-store", "optional": True}},
]


@dataclass(frozen=True)
class Pods:
    """So many equal pods for workers of so many CPUs and GPUs, one in a pod."""

    count: int
    cpus: int
    gpus: int

    def __str__(self) -> str:
        return f"{self.count} x ({self.cpus} CPU, {self.gpus} GPU, {self.gib} GiB)"

    @property
    def gib(self) -> int:
        """Memory of one pod."""
        return self.cpus * _GIB_PER_CPU + self.gpus * _GIB_PER_GPU

    def room(self, cpus: int, gpus: int) -> int:
        """How many workers of another size these pods could hold."""
        in_one = min(self.cpus // cpus, self.gpus // gpus) if gpus else self.cpus // cpus
        return self.count * in_one


def ray_pod(container: str, image: str, size: Pods, files: str) -> Manifest:
    """A pod with the files of the config map `files`, the shared volume, a cache of its own, room for Ray's objects."""
    amounts = {"cpu": str(size.cpus), "memory": f"{size.gib}Gi"}
    if size.gpus:
        amounts["nvidia.com/gpu"] = str(size.gpus)
    volumes = {
        "files": (FILES, {"configMap": {"name": files}}),
        "home": (HOME, {"persistentVolumeClaim": {"claimName": "zoo-home"}}),
        "cache": (f"{HOME}/cache", {"emptyDir": {}}),
        "shared-mem": ("/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": f"{size.gib // 2}Gi"}}),  # noqa: S108
    }
    pod = {
        "serviceAccountName": "zoo-runner",
        "automountServiceAccountToken": False,
        "securityContext": _NOT_ROOT | {"fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [
            {
                "name": container,
                "image": image,
                "workingDir": HOME,
                "envFrom": _ENVIRONMENT,
                "resources": _resources(amounts),
                "securityContext": _NO_RIGHTS,
                "volumeMounts": [{"name": name, "mountPath": path} for name, (path, _) in volumes.items()],
            }
        ],
        "volumes": [{"name": name, **source} for name, (_, source) in volumes.items()],
    }
    if size.gpus:
        pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return {"spec": pod}


def kubectl_pod(steps: dict[str, Sequence[str]], files: str) -> Manifest:
    """A pod that calls kubectl step by step, and ends as the last step does."""
    *before, last = [_kubectl(name, arguments) for name, arguments in steps.items()]
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": "zoo-scheduler",
        "securityContext": _NOT_ROOT,
        "initContainers": before,
        "containers": [last],
        "volumes": [{"name": "files", "configMap": {"name": files}}],
    }
    return {"spec": pod}


def _kubectl(name: str, arguments: Sequence[str]) -> Manifest:
    return {
        "name": name,
        "image": KUBECTL,
        "args": list(arguments),
        "resources": _resources({"cpu": "100m", "memory": "128Mi"}),
        "securityContext": _NO_RIGHTS | {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "files", "mountPath": FILES, "readOnly": True}],
    }


def _resources(amounts: dict[str, str]) -> Manifest:
    """Requests equal to limits: a training that is throttled or evicted for memory costs more than it saves."""
    return {"requests": amounts, "limits": amounts}
