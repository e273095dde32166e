"""One stage on the cluster: what it needs there, how its function is started, how its result is committed."""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from infra.resources import Demand, Placement, Resources
from pipelines.artifacts.patience import is_passing, keep_trying
from pipelines.artifacts.store import METRICS, OUTPUT, Store, Workplace
from pipelines.recipe.identity import describe
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.sources import locate
from pipelines.recipe.stages import Condense, Stage, sources
from trainers.config import Execution
from trainers.deepspeed_ops import build_ops

if TYPE_CHECKING:
    from infra.cluster import Cluster

SCORES = ("loss", "accuracy", "eval_loss", "perplexity", "skipped_samples", "flops", "step")
"""What a record keeps of the metrics: the last value of each; `step` and `flops` are what the stage cost."""


def demand(stage: Stage, *, most: bool = False) -> Demand:
    """What a stage needs of a cluster at least, or takes at most."""
    if isinstance(stage, Condense):
        return Demand(Resources())
    asked = stage.resources
    size = Resources(asked.cpus_per_worker, asked.gpus_per_worker, asked.memory, asked.custom)
    return Demand(size, asked.workers if most else asked.min_workers or asked.workers, placement(asked))


def placement(asked: Execution) -> Placement:
    """Which nodes the workers of a stage may share."""
    if asked.nodes is None:
        return "PACK"
    return "STRICT_PACK" if asked.nodes == 1 else "STRICT_SPREAD"


def run_stage(
    recipe: Recipe, name: str, keys: dict[str, str], store: Store, cluster: "Cluster", place: Workplace
) -> None:
    """Run a stage in `place` and commit what it made. Raises what the stage raises, `LeaseLostError`."""
    from pipelines.run.effort import read_effort
    from pipelines.run.provenance import Gathered
    from pipelines.stages import run_condense  # loads torch
    from pipelines.stages.common import Job
    from trainers.metrics import read_metrics

    began, stage = monotonic(), recipe.stages[name]
    description = describe(recipe, stage, keys)
    folders = {".".join(map(str, loc)): locate(source, keys, store) for loc, source in sources(stage)}
    gathered = Gathered.of(recipe, name, keys, store) if stage.gives == "learngene" else None
    alone = recipe.model_copy(update={"stages": {name: stage}, "entries": {}, "bench": None})
    job = Job(recipe=alone, name=name, work=place.work, inputs=folders, lease=place.lease.path)
    if isinstance(stage, Condense):
        cluster.run(run_condense, job.model_dump_json(by_alias=True), unwanted=place.lease.known_lost)
    else:
        _train(cluster, stage, job.model_dump_json(by_alias=True), place)
    scores, effort = _final_scores(read_metrics(place.work / METRICS)), read_effort(place.work)
    if gathered:
        keep_trying(partial(gathered.write, place.work / OUTPUT, scores, effort), is_passing)
    commit = partial(store.commit, place, name, description, scores, monotonic() - began, effort)
    keep_trying(commit, is_passing)


def _train(cluster: "Cluster", stage: Stage, job: str, place: Workplace) -> None:
    """A worker that is alone needs no group, which takes Ray Train ten seconds to form."""
    from pipelines.stages import run_training

    assert not isinstance(stage, Condense)
    execution, resources = stage.resources, demand(stage).resources
    if execution.workers == 1 and execution.engine == "torch":
        cluster.run(run_training, job, resources=resources, unwanted=place.lease.known_lost, progress=place.checkpoints)
        return
    cluster.run_group(
        run_training,
        job,
        workers=execution.workers,
        min_workers=execution.min_workers,
        resources=resources,
        prepare=_prepare(execution),
        placement=placement(execution),
    )


def _prepare(execution: Execution) -> Callable[[], None] | None:
    if execution.engine != "deepspeed" or execution.gpus_per_worker:  # with GPUs nothing is compiled
        return None
    return build_ops


def _final_scores(rows: list[dict[str, float]]) -> dict[str, float]:
    """The last value of every metric that says how good the result is."""
    scores: dict[str, float] = {}
    for row in rows:
        scores |= {name: row[name] for name in SCORES if name in row}
    return scores
