"""What the pods of runs have in common: least rights, the shared volume, settings and secrets by reference.

The names that the pods refer to are those of `infra/k8s`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from infra.resources import GIB, Resources, holds, text

Manifest = dict[str, Any]

FILES = "/etc/zoo"
"""Where a run finds its files."""
HOME = "/zoo"
"""The volume that all pods share, their ZOO_HOME and their working directory."""
KUBECTL = "registry.k8s.io/kubectl:v1.37.0"

_GIB_PER_CPU, _GIB_PER_GPU = 4, 16
"""Of a worker that does not say how much memory it needs."""
_RAY_GIB = 2
"""For Ray and the run itself, beside workers that say it: Kubernetes ends a pod that takes more than it asked for."""
_NOT_ROOT = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
_NO_RIGHTS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_ENVIRONMENT = [
    {"configMapRef": {"name": "zoo-settings"}},
    {"secretRef": {"name": "zoo-registry"}},
    {"secretRef": {"name": "zoo-store", "optional": True}},
]


@dataclass(frozen=True)
class Pods:
    """`count` equal pods, with room for one `worker` each. The work on them can go on with `least` pods.

    `apart`: no two workers may share a pod, whatever its size.
    """

    count: int
    worker: Resources
    least: int
    apart: bool = False

    def __str__(self) -> str:
        count = f"{self.least} to {self.count}" if self.least < self.count else str(self.count)
        return f"{count} x ({text(self._capacity.amounts())})"

    @property
    def gib(self) -> int:
        """Memory of one pod."""
        return ceil(self.worker.memory / GIB) + _RAY_GIB if self.worker.memory else _usual_gib(self.worker)

    def joined(self, other: "Pods") -> "Pods | None":
        """These pods with the work of `other` on them too; null where it does not fit."""
        worker = replace(other.worker, memory=other.worker.memory or _usual_gib(other.worker) * GIB)
        in_one = min(holds(self._capacity.amounts(), worker), 1 if other.apart else other.count)
        if in_one * self.count < other.count:
            return None
        return replace(self, least=max(self.least, ceil(other.least / in_one)), apart=self.apart or other.apart)

    @property
    def _capacity(self) -> Resources:
        return replace(self.worker, memory=self.gib * GIB)


def _usual_gib(worker: Resources) -> int:
    return worker.cpus * _GIB_PER_CPU + worker.gpus * _GIB_PER_GPU


def ray_pod(container: str, image: str, size: Pods, files: str) -> Manifest:
    """A pod with the files of the config map `files`, the shared volume, a cache of its own, room for Ray's objects."""
    amounts = {"cpu": str(size.worker.cpus), "memory": f"{size.gib}Gi"}
    if size.worker.gpus:
        amounts["nvidia.com/gpu"] = str(size.worker.gpus)
    volumes = {
        "files": (FILES, {"configMap": {"name": files}}),
        "home": (HOME, {"persistentVolumeClaim": {"claimName": "zoo-home"}}),
        "cache": (f"{HOME}/cache", {"emptyDir": {}}),
        "shared-mem": ("/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": f"{size.gib // 2}Gi"}}),  # noqa: S108 - in the pod
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
    if size.worker.gpus:
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
