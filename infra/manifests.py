"""Kubernetes manifests of a command that runs on a schedule: in a pod of its own, or on a Ray cluster of its own.

A run that fits one pod is a plain CronJob. A larger one is a CronJob that creates a RayJob and waits for its end, so
that `concurrencyPolicy: Forbid` holds either way. No secret is ever written into a manifest.
"""

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from infra.pods import FILES, Manifest, Pods, kubectl_pod, ray_pod
from infra.resources import Resources
from zoo.errors import BadInputError

NAME_LENGTH = 47
"""Of a RayJob; the name of a CronJob may be a little longer."""

_ENDED = "learngene-zoo/ended"
# Of `zoo`: the same command would end the same way again. Not 4: it also says that the disk stayed full, and somebody
# may make room; where it says that an artifact is damaged, another attempt reaches it in seconds and costs nothing.
_FINAL_EXIT_CODES = [2, 5]
_RETRIES = 2
_HEAD = Pods(count=1, worker=Resources(cpus=2), least=1)


@dataclass(frozen=True)
class Run:
    """What is run and where: `command`, with `files` in `infra.pods.FILES`, on `groups` of pods.

    `queue` is the LocalQueue of Kueue that admits it.
    """

    name: str
    namespace: str
    image: str
    command: tuple[str, ...]
    files: dict[str, str]
    groups: tuple[Pods, ...]
    ray_version: str
    queue: str | None = None

    def metadata(self, component: str, *, admitted: bool = False) -> Manifest:
        """Name, namespace and labels; Kueue looks at what is `admitted`."""
        labels = {
            "app.kubernetes.io/name": "learngene-zoo",
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/component": component,
        }
        if admitted and self.queue:
            labels["kueue.x-k8s.io/queue-name"] = self.queue
        return {"name": self.name, "namespace": self.namespace, "labels": labels}


def one_pod(groups: Sequence[Pods]) -> bool:
    """Whether a run needs no cluster: only the nodes of a cluster have resources of other names."""
    return sum(group.count for group in groups) == 1 and not any(group.worker.custom for group in groups)


def scheduled(run: Run, cron: str) -> list[Manifest]:
    """The manifests that start `run` at the times of `cron` (UTC)."""
    if one_pod(run.groups):
        return [_config_map(run, run.files), _cron_job(run, cron, _run_job(run))]
    files = run.files | {"rayjob.yaml": render([ray_job(run)])}
    return [_config_map(run, files), _cron_job(run, cron, _launch_job(run))]


def ray_job(run: Run) -> Manifest:
    """A Ray cluster that lives as long as the run; the command's process is on its head, its work on the workers."""
    head = _labelled(ray_pod("ray-head", run.image, _HEAD, run.name), run, "ray")
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": run.metadata("ray", admitted=True),
        "spec": {
            "entrypoint": shlex.join(run.command),
            "metadata": {"learngene-zoo": run.name},  # for `zoo status`
            "submissionMode": "HTTPMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 60,
            "rayClusterSpec": {
                "rayVersion": run.ray_version,
                "authOptions": {"mode": "token"},
                "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": head},
                "workerGroupSpecs": [_worker_group(run, *each) for each in enumerate(run.groups, 1)],
            },
        },
    }


def render(manifests: Iterable[Manifest]) -> str:
    """The manifests as one YAML text."""
    return yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=False, width=120)


def check_name(field: str, value: str, longest: int = 63) -> None:
    """Raise `BadInputError` unless `value` is a name to Kubernetes (a DNS label)."""
    words = value.replace("-", "")
    plain = words.isascii() and words.isalnum() and value == value.lower()
    if not plain or value.startswith("-") or value.endswith("-") or len(value) > longest:
        raise BadInputError(
            f"{field}: {value!r} is no name to Kubernetes; legal: up to {longest} of a-z, 0-9 and '-',"
            f" beginning and ending with a letter or a digit"
        )


def _config_map(run: Run, files: dict[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": run.metadata("schedule"), "data": files}


def _cron_job(run: Run, cron: str, job: Manifest) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": run.metadata("schedule"),
        "spec": {
            "schedule": cron,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "jobTemplate": job,
        },
    }


def _run_job(run: Run) -> Manifest:
    pod = _labelled(ray_pod("zoo", run.image, run.groups[0], run.name), run, "run")
    pod["spec"]["restartPolicy"] = "Never"
    pod["spec"]["containers"][0]["command"] = list(run.command)
    final = {"containerName": "zoo", "operator": "In", "values": _FINAL_EXIT_CODES}
    return _job(run, pod, [{"action": "FailJob", "onExitCodes": final}], admitted=True)


def _launch_job(run: Run) -> Manifest:
    """Create the RayJob, wait for its end, and end as it did. Every step may be repeated.

    A launcher that is evicted leaves the RayJob alone, and the next one waits on. A RayJob that has ended is marked,
    and deleted when the next one is due: until then people can look at it.
    """
    name = f"rayjob/{run.name}"
    steps = {
        "clear": ("delete", "rayjob", f"--selector=app.kubernetes.io/instance={run.name},{_ENDED}=true"),
        "create": ("apply", f"--filename={FILES}/rayjob.yaml"),
        "wait": ("wait", name, "--for=jsonpath={.status.endTime}", "--timeout=-1s"),
        "mark": ("label", name, f"{_ENDED}=true", "--overwrite"),
        "succeeded": ("wait", name, "--for=jsonpath={.status.jobStatus}=SUCCEEDED", "--timeout=0s"),
    }
    return _job(run, _labelled(kubectl_pod(steps, run.name), run, "schedule"), [], admitted=False)


def _job(run: Run, pod: Manifest, rules: list[Manifest], *, admitted: bool) -> Manifest:
    """Retries do not count where a pod was only moved away from its node."""
    moved = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    spec = {"backoffLimit": _RETRIES, "podFailurePolicy": {"rules": [*rules, moved]}, "template": pod}
    return {"metadata": {"labels": run.metadata("schedule", admitted=admitted)["labels"]}, "spec": spec}


def _worker_group(run: Run, number: int, group: Pods) -> Manifest:
    worker = group.worker
    return {
        "groupName": f"cpu{worker.cpus}-gpu{worker.gpus}-{number}",
        "replicas": group.count,
        "minReplicas": group.least,
        "maxReplicas": group.count,
        # a word of a command line that a shell reads
        "rayStartParams": {"resources": f"'{json.dumps(dict(worker.custom))}'"} if worker.custom else {},
        "template": _labelled(ray_pod("ray-worker", run.image, group, run.name), run, "ray"),
    }


def _labelled(pod: Manifest, run: Run, component: str) -> Manifest:
    """Network policies select pods by these labels."""
    return {"metadata": {"labels": run.metadata(component)["labels"]}, **pod}


class _Dumper(yaml.SafeDumper):
    """No anchors, and texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
