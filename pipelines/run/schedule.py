"""`zoo schedule`: the manifests that run a recipe at the times of a cron expression."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cronsim import CronSim, CronSimError

from infra.manifests import NAME_LENGTH, Run, check_name, one_pod, scheduled
from infra.pods import FILES, Manifest, Pods
from pipelines.recipe.file import load_recipe
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Stage
from pipelines.run.execute import demand
from zoo.errors import BadInputError

CRON_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of month": "1-31",
    "month": "1-12 or JAN-DEC",
    "day of week": "0-6 or SUN-SAT (0 is Sunday)",
}
_ITEM = r"(\*|(\d+|[A-Z]{3})(-(\d+|[A-Z]{3}))?)(/\d+)?"


@dataclass(frozen=True)
class Schedule:
    """When a recipe runs next (UTC), on which pods, and the manifests that make it so."""

    next: str
    pods: tuple[Pods, ...]
    manifests: list[Manifest]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        pods = [
            {
                "count": pod.count,
                "least": pod.least,
                "cpus": pod.worker.cpus,
                "gpus": pod.worker.gpus,
                "memory_gib": pod.gib,
                "custom": dict(pod.worker.custom),
            }
            for pod in self.pods
        ]
        return {"next": self.next, "pods": pods, "manifests": self.manifests}


def schedule(
    path: Path,
    overrides: tuple[str, ...],
    cron: str,
    *,
    profile: Path | None = None,
    name: str | None,
    namespace: str,
    image: str | None,
    queue: str | None,
) -> Schedule:
    """The manifests for a recipe that is checked first. Raises `BadInputError` (recipe, profile, `cron`, a name)."""
    recipe = load_recipe(path, overrides, profile=profile)
    first = next_time(cron)
    name = re.sub("[^a-z0-9]+", "-", recipe.name.lower()).strip("-") if name is None else name
    check_name("name", name, NAME_LENGTH)
    check_name("namespace", namespace)
    if queue is not None:
        check_name("queue", queue)
    pods = pods_for(recipe)
    address = "local" if one_pod(pods) else "auto"
    files = {"recipe.yaml": path} | ({"profile.yaml": profile} if profile else {})
    words = ["--profile", f"{FILES}/profile.yaml"] if profile else []
    words += [word for text in overrides for word in ("--set", text)]
    run = Run(
        name=name,
        namespace=namespace,
        image=image or f"learngene-zoo:{'cuda' if any(pod.worker.gpus for pod in pods) else 'cpu'}",
        # With --events it also ends well on SIGTERM, which the first process of a pod would never see otherwise.
        command=("zoo", "run", f"{FILES}/recipe.yaml", "--address", address, "--events", *words),
        files={name: file.read_text(encoding="utf-8") for name, file in files.items()},
        groups=pods,
        ray_version=version("ray"),
        queue=queue,
    )
    return Schedule(first.isoformat(timespec="minutes"), pods, scheduled(run, " ".join(cron.split())))


def pods_for(recipe: Recipe) -> tuple[Pods, ...]:
    """A pod for every worker of the largest stage, in groups of equal size; small stages go where they fit."""
    groups: list[Pods] = []
    for alone in sorted(map(_alone, recipe.stages.values()), key=_size, reverse=True):
        for number, group in enumerate(groups):
            if together := group.joined(alone):
                groups[number] = together
                break
        else:
            groups.append(alone)
    return tuple(groups)


def _alone(stage: Stage) -> Pods:
    """What a stage would get if there were no other."""
    least, most = demand(stage), demand(stage, most=True).workers
    if least.placement == "STRICT_PACK":
        return Pods(1, least.resources.times(most), 1)
    return Pods(most, least.resources, least.workers, apart=least.placement == "STRICT_SPREAD")


def _size(pods: Pods) -> tuple[float, ...]:
    worker = pods.worker
    return (len(worker.custom), worker.gpus, worker.cpus, pods.gib, pods.count)


def next_time(cron: str) -> datetime:
    """When `cron` is due next, in UTC. Raises `BadInputError` for what Kubernetes would not take, or that never is."""
    fields = cron.upper().split()
    if len(fields) != len(CRON_FIELDS):
        raise BadInputError(f"cron: {cron!r} has {len(fields)} fields; legal: 5, {', '.join(CRON_FIELDS)}: '0 3 * * 0'")
    if wrong := list(_wrong_fields(fields)):
        raise BadInputError("\n".join(wrong))
    try:
        return next(CronSim(cron.upper(), datetime.now(UTC)))
    except (CronSimError, StopIteration):
        raise BadInputError(f"cron: {cron!r} is never due; legal: a date that comes, as '0 3 1 * *'") from None


def _wrong_fields(fields: list[str]) -> Iterator[str]:
    for position, (field, legal) in enumerate(CRON_FIELDS.items()):
        alone = ["*"] * len(fields)
        alone[position] = text = fields[position]
        try:
            CronSim(" ".join(alone), datetime.now(UTC))
        except CronSimError:
            known = False
        else:  # it knows a few more words than Kubernetes does, and a second Sunday
            sunday = field == "day of week" and re.search(r"(?<![/\d])7", text)
            known = all(re.fullmatch(_ITEM, item) for item in text.split(",")) and not sunday
        if not known:
            yield f"cron: {field} is {text!r}; legal: {legal}, '*', lists '1,3', ranges '1-5', steps '*/2'"
