"""What the verbs about recipes and learngenes do, as functions that return plain results."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.artifacts.lease import JOB
from pipelines.artifacts.store import Store
from pipelines.bench.evidence import split_evidence
from pipelines.models.lineage import lineage_of, provenance_of
from pipelines.recipe.file import load_recipe
from pipelines.run.events import Told, told_end, told_stages
from pipelines.run.registration import check_registry, known, register
from pipelines.run.runner import check_cluster, plan, run
from pipelines.run.status import OnChange, StageStatus
from pipelines.show import messages
from pipelines.show.stages import live_stages
from registry.gate import gate_of
from registry.history import CANDIDATE
from zoo.api import is_folder, locate
from zoo.families import architecture
from zoo.files import home
from zoo.manifest import verify

if TYPE_CHECKING:
    from infra.cluster import Cluster
    from pipelines.run.jobs import JobStatus
    from registry.entries import Entry

Shown = Callable[[list[StageStatus]], AbstractContextManager[OnChange]]


@dataclass(frozen=True)
class RunResult:
    """What a run of a recipe did."""

    stages: list[StageStatus]
    entries: "list[Entry]"

    @property
    def waiting(self) -> list[str]:
        """A line for every candidate: only the bench that its gate names can make it the champion."""
        gates = [(entry, gate_of(entry)) for entry in self.entries if CANDIDATE in entry.aliases]
        return [f"{entry.ref} is the candidate: bench {gate.bench!r} decides" for entry, gate in gates if gate]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        stages = [row.__dict__ for row in self.stages]
        return {"stages": stages, "entries": [entry.to_json() for entry in self.entries]}


def plan_recipe(path: Path, overrides: tuple[str, ...], profile: Path | None, address: str | None) -> list[StageStatus]:
    """The stages of a recipe and what is done of them; with an address also whether the cluster could hold them."""
    recipe = load_recipe(path, overrides, profile=profile)
    rows = plan(recipe, Store.default())
    if address is not None:
        from infra.cluster import connect

        with connect(address) as cluster:
            check_cluster(recipe, rows, cluster)
    return rows


def run_recipe(
    path: Path, overrides: tuple[str, ...], profile: Path | None, address: str, *, events: bool = False
) -> RunResult:
    """Run a recipe to its end and register what it names. Ray starts when the first stage needs it.

    With `events` it says what happens in JSON lines on stdout (`pipelines.run.events`).
    """
    if not events:
        return _run_recipe(path, overrides, profile, address, live_stages)
    with told_end() as end:
        if JOB in os.environ:  # Ray takes away the folder of a job's files, where its process is, while it still runs
            path = path.absolute()
            home().mkdir(parents=True, exist_ok=True)
            os.chdir(home())
        result = _run_recipe(path, overrides, profile, address, told_stages)
        end["entries"] = result.to_json()["entries"]
    return result


def _run_recipe(path: Path, overrides: tuple[str, ...], profile: Path | None, address: str, shown: Shown) -> RunResult:
    recipe, store = load_recipe(path, overrides, profile=profile), Store.default()
    rows = plan(recipe, store)
    entries = known(recipe, store, rows)
    if entries is None:
        check_registry(recipe)  # better now than after hours of training
    with ExitStack() as stack:

        @cache
        def cluster() -> "Cluster":
            from infra.cluster import connect

            return stack.enter_context(connect(address))

        on_change = stack.enter_context(shown(rows))
        run(recipe, store, rows, cluster, on_change)
    return RunResult(rows, register(recipe, store, rows) if entries is None else entries)


def submit_recipe(path: Path, overrides: tuple[str, ...], profile: Path | None, address: str) -> str:
    """Start a run of a recipe as a Ray job; its name."""
    from infra.jobs import Jobs
    from pipelines.run.jobs import submit

    return submit(Jobs(address), load_recipe(path, overrides, profile=profile))


def follow_job(job: str, address: str) -> "JobStatus":
    """Show the stages of a job, and whatever else it prints, till it ends."""
    from infra.jobs import Jobs
    from pipelines.run.jobs import status

    jobs, told = Jobs(address), Told()
    rows: list[StageStatus] = []
    with live_stages(rows) as on_change:
        for line in jobs.follow(job):
            before = {name: (row.state, row.holder) for name, row in told.stages.items()}
            if not told.hear(line):
                messages.print(line, highlight=False)
                continue
            rows[:] = told.stages.values()
            for row in rows:
                if before.get(row.name) != (row.state, row.holder):
                    on_change(row)
    return status(jobs, job)


def describe_learngene(ref: str, *, tree: bool = False) -> dict[str, Any]:
    """The manifest of a learngene, where it comes from and what it cost; with `tree` its lineage too.

    Of a registered one also its name, aliases, scores, evidence and place.
    """
    found: Entry | None = None
    if not is_folder(ref):
        from registry.entries import find_entry

        found = find_entry(ref)
    folder = locate(found.ref if found else ref)
    manifest, provenance = verify(folder), provenance_of(ref, folder, found)
    arch = architecture(manifest.family, manifest.config, manifest.size)
    model = {"model_parameters": arch.parameters(), "model_flops": arch.flops()}
    content = {**_of_entry(found), "digest": manifest.digest, **manifest.model_dump(mode="json"), **model}
    if provenance:
        content |= {"cost": provenance.cost.model_dump(), "provenance": provenance.model_dump(mode="json")}
    if tree:
        lineage = lineage_of(found.ref if found else ref, manifest, provenance)
        content["lineage"] = lineage.model_dump(mode="json")
    return content


def _of_entry(entry: "Entry | None") -> dict[str, Any]:
    if entry is None:
        return {}
    keys = ("name", "version", "aliases", "metrics", "tags", "created", "uri")
    content = {key: entry.to_json()[key] for key in keys}
    content["metrics"], content["evidence"] = split_evidence(entry.metrics)
    return content
