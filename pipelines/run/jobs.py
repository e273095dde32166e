"""Recipes as Ray jobs: what travels, what comes back, and how a job really is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

import yaml

from infra.jobs import Jobs, RayJob
from pipelines.artifacts.lease import JOB
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Folder, sources
from pipelines.run.events import Told
from pipelines.run.status import StageStatus
from zoo.errors import BadInputError

FILE = "recipe.yaml"
COMMAND = ("zoo", "run", FILE, "--address", "auto", "--events")
GOING_ON = {"PENDING": "pending", "RUNNING": "running"}


@dataclass(frozen=True)
class JobStatus:
    """How a job is: `pending`, `running`, `done`, `failed` or `cancelled`, by its own last word where it has one."""

    job: str
    recipe: str
    state: str
    started: str
    seconds: float
    error: str
    exit_code: int | None
    stages: list[StageStatus]
    entries: list[Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self.__dict__ | {"stages": [row.__dict__ for row in self.stages]}


def submit(jobs: Jobs, recipe: Recipe) -> str:
    """Start a run of a recipe as a job; its name. Raises `BadInputError` for paths that mean nothing on the cluster."""
    refuse_relative(recipe)
    name = f"{recipe.name}-{token_hex(4)}"
    # Ray keeps equal files once, and takes them away when the first of their jobs ends: so no two are equal.
    jobs.submit(name, recipe.name, COMMAND, {FILE: f"# {name}\n{resolved(recipe)}"}, {JOB: name})
    return name


def resolved(recipe: Recipe) -> str:
    """The recipe as YAML, with profile and overrides in it."""
    return yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True, exclude_unset=True), sort_keys=False)


def refuse_relative(recipe: Recipe) -> None:
    """Raise `BadInputError` for every relative path: a job begins in a folder of its own, on another machine."""
    paths: dict[str, Any] = {"stages." + ".".join(map(str, loc)): source.folder for loc, source in _folders(recipe)}
    paths["data.path"] = getattr(recipe.data, "path", None)
    paths["data.tokenizer"] = getattr(recipe.data, "tokenizer", None)
    wrong = [
        f"{field}: {str(path)!r} is relative; a job runs on another machine: give a path that begins with / and is"
        " there on all nodes, or an address such as s3://"
        for field, path in paths.items()
        if path is not None and "://" not in str(path) and not Path(path).is_absolute()
    ]
    if wrong:
        raise BadInputError("\n".join(wrong))


def _folders(recipe: Recipe) -> Iterator[tuple[tuple[int | str, ...], Folder]]:
    yield from ((loc, source) for loc, source in sources(recipe.stages) if isinstance(source, Folder))


def status(jobs: Jobs, name: str) -> JobStatus:
    """How a job and its stages are."""
    return interpret(jobs.one(name), Told.of(jobs.log(name).splitlines()))


def statuses(jobs: Jobs) -> list[JobStatus]:
    """All jobs of recipes that the cluster remembers, the newest first."""
    return [interpret(job, Told.of(jobs.log(job.id).splitlines())) for job in jobs.all()]


def interpret(job: RayJob, told: Told) -> JobStatus:
    """A job that said how it ended ended so, whatever Ray made of it; else Ray's word counts."""
    if told.end:
        state, error, code = told.end["state"], told.end["error"], told.end["exit_code"]
    else:
        state, error, code = GOING_ON.get(job.status, "failed"), "", None
        if job.status == "STOPPED":
            state, error = "cancelled", "it was stopped before it could say how far it was"
        elif state == "failed":
            error = f"it ended without a word; Ray says: {job.message}"
    stages = list(told.stages.values())
    if state not in GOING_ON.values():
        for row in stages:
            if row.state in ("queued", "running", "elsewhere"):
                row.state, row.holder = "stopped", ""
    seconds = ((job.ended or datetime.now(UTC)) - job.started).total_seconds() if job.started else 0.0
    started = job.started.isoformat(timespec="seconds") if job.started else ""
    entries = (told.end or {}).get("entries", [])
    return JobStatus(job.id, job.title, state, started, round(seconds, 1), error, code, stages, entries)
