"""What the verbs about recipes and learngenes do, as functions that return plain results."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.bench.evidence import split_evidence
from pipelines.recipe_file import load_recipe
from pipelines.runner import StageStatus, check_registry, plan, register, run
from pipelines.show import live_stages
from pipelines.store import Store
from zoo.api import is_folder, locate
from zoo.families import architecture
from zoo.manifest import verify

if TYPE_CHECKING:
    from infra.cluster import Cluster
    from registry.entries import Entry


@dataclass(frozen=True)
class RunResult:
    """What a run of a recipe did."""

    stages: list[StageStatus]
    entries: "list[Entry]"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        stages = [row.__dict__ for row in self.stages]
        return {"stages": stages, "entries": [entry.to_json() for entry in self.entries]}


def plan_recipe(path: Path, overrides: tuple[str, ...]) -> list[StageStatus]:
    """The stages of a recipe and what is done of them."""
    return plan(load_recipe(path, overrides), Store.default())


def run_recipe(path: Path, overrides: tuple[str, ...], address: str) -> RunResult:
    """Run a recipe to its end and register what it names. Ray starts when the first stage needs it."""
    recipe, store = load_recipe(path, overrides), Store.default()
    rows = plan(recipe, store)
    if recipe.entries:
        check_registry()  # better now than after hours of training
    with ExitStack() as stack:

        @cache
        def cluster() -> "Cluster":
            from infra.cluster import connect

            return stack.enter_context(connect(address))

        on_change = stack.enter_context(live_stages(rows))
        run(recipe, store, rows, cluster, on_change)
    return RunResult(rows, register(recipe, store, rows))


def describe_learngene(ref: str) -> dict[str, Any]:
    """The manifest of a learngene; of a registered one also its name, aliases, scores, evidence and place."""
    entry: dict[str, Any] = {}
    if not is_folder(ref):
        from registry.entries import find_entry

        found = find_entry(ref)
        keys = ("name", "version", "aliases", "metrics", "tags", "created", "uri")
        entry, ref = {key: found.to_json()[key] for key in keys}, found.ref
        entry["metrics"], entry["evidence"] = split_evidence(found.metrics)
    manifest = verify(locate(ref))
    arch = architecture(manifest.family, manifest.config, manifest.size)
    model = {"model_parameters": arch.parameters(), "model_flops": arch.flops()}
    return {**entry, "digest": manifest.digest, **manifest.model_dump(mode="json"), **model}
