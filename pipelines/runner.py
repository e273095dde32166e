"""Running a recipe: every stage that has no record yet, in order, then the registrations."""

import shutil
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from graphlib import TopologicalSorter
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Literal

from pipelines.identity import describe, stage_keys
from pipelines.recipe import Recipe
from pipelines.recipe_stages import Condense, inputs, sources
from pipelines.sources import locate
from pipelines.store import METRICS, Store

if TYPE_CHECKING:
    from infra.cluster import Cluster
    from registry.entries import Entry
    from trainers.config import Execution

State = Literal["waiting", "cached", "elsewhere", "running", "done", "failed"]


@dataclass
class StageStatus:
    """One row of the live table."""

    name: str
    run: str
    key: str
    state: State
    step: int = 0
    total: int = 0
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)


SCORES = ("loss", "accuracy", "eval_loss", "perplexity", "skipped_samples", "flops", "step")
"""What a record keeps of the metrics: the last value of each; `step` and `flops` are what the stage cost."""
STOP_SECONDS = 10
"""How long an interrupt waits for what runs to end: tasks take a second, groups only end with the connection."""
OnChange = Callable[[StageStatus], None]
Connect = Callable[[], "Cluster"]


def plan(recipe: Recipe, store: Store) -> list[StageStatus]:
    """What `run` would do: which stages are done, and how far unfinished ones are."""
    rows: list[StageStatus] = []
    for name, key in stage_keys(recipe).items():
        record = store.record(key)
        row = StageStatus(name, recipe.stages[name].run, key, "cached" if record else "waiting")
        if record:
            row.scores, row.seconds = record.scores, record.seconds
        else:
            refresh(row, store)
        rows.append(row)
    return rows


def refresh(row: StageStatus, store: Store) -> None:
    """Read how far a running stage is."""
    progress = store.progress(row.key)
    row.step, row.total = int(progress.get("step", 0)), int(progress.get("total", 0))
    if "loss" in progress:
        row.scores = {"loss": progress["loss"]}


def run(recipe: Recipe, store: Store, rows: list[StageStatus], connect: Connect, on_change: OnChange) -> None:
    """Run the stages of `rows` (from `plan`) that are not done; `connect` is called when the first one needs it.

    Stages whose inputs are there run at the same time, as many as the cluster has CPUs; what does not fit beside the
    others waits on the cluster. After a failure no further stage begins, and those that run are finished.
    """
    keys = {row.name: row.key for row in rows}
    waiting = {row.name: row for row in rows if row.state != "cached"}
    if not waiting:
        return
    graph = {name: inputs(recipe.stages[name]) & waiting.keys() for name in waiting}
    order = TopologicalSorter(graph)
    order.prepare()
    cluster = connect()
    pool = ThreadPoolExecutor(cluster.cpus)
    running: dict[Future[None], str] = {}
    stop = Event()  # for those that wait until another run has done their stage
    try:
        while order.is_active():
            for name in order.get_ready():
                step = partial(_run_row, recipe, waiting[name], keys, store, cluster, on_change, stop.is_set)
                running[pool.submit(step)] = name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                order.done(running.pop(future))
    except Exception:
        stop.set()
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:  # an interrupt: what runs ends too, while there still is a cluster to end it on
        stop.set()
        cluster.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        wait(running, timeout=STOP_SECONDS)
        raise
    pool.shutdown()


def _run_row(
    recipe: Recipe,
    row: StageStatus,
    keys: dict[str, str],
    store: Store,
    cluster: "Cluster",
    on_change: OnChange,
    stopped: Callable[[], bool],
) -> None:
    row.state, began = "running", monotonic()
    on_change(row)
    try:
        with store.lock(row.key, partial(on_change, replace(row, state="elsewhere")), stopped):
            store.sweep(row.key)
            if store.record(row.key) is None:  # another run may have finished it while this one waited
                _run_stage(recipe, row.name, keys, store, cluster, began)
    except BaseException:
        row.state = "failed"
        on_change(row)
        raise
    record = store.record(row.key)
    assert record is not None
    row.state, row.scores, row.seconds = "done", record.scores, monotonic() - began
    on_change(row)


def check_registry() -> None:
    """Raise `NotFoundError` if the registry does not answer."""
    from registry.server import connect  # mlflow takes seconds to import

    with connect():
        pass


def register(recipe: Recipe, store: Store, rows: list[StageStatus]) -> list["Entry"]:
    """Register what the recipe names, with the scores of its stage. What is new becomes the champion."""
    from registry.entries import versions
    from registry.register import log_training, register, set_alias  # mlflow takes seconds to import
    from trainers.metrics import read_metrics

    by_name = {row.name: row for row in rows}
    entries: list[Entry] = []
    for name, ref in recipe.entries.items():
        row = by_name[ref.stage]
        record = store.record(row.key)
        assert record is not None
        folder = store.verified(row.key)
        tags = {"recipe": recipe.name, "stage": ref.stage, "key": row.key}
        before = versions(name)
        entry = register(folder, name, metrics=record.scores, tags=tags)
        log_training(entry, ref.stage, read_metrics(folder.parent / METRICS))
        # An old result that is registered again must not undo a later choice; a name without a champion gets one,
        # as after a kill between the two calls.
        chosen = any("champion" in old.aliases for old in before)
        is_new = entry.digest not in {old.digest for old in before}
        entries.append(set_alias(name, "champion", entry.version) if is_new or not chosen else entry)
    return entries


def _run_stage(recipe: Recipe, name: str, keys: dict[str, str], store: Store, cluster: "Cluster", began: float) -> None:
    from pipelines.stages import run_condense  # loads torch
    from pipelines.stages.common import Job
    from trainers.metrics import read_metrics

    stage, key = recipe.stages[name], keys[name]
    description = describe(recipe, stage, keys)
    folders = {".".join(map(str, loc)): locate(source, keys, store) for loc, source in sources(stage)}
    work = store.work(key)
    alone = recipe.model_copy(update={"stages": {name: stage}, "entries": {}, "bench": None})
    job = Job(recipe=alone, name=name, work=work, inputs=folders).model_dump_json(by_alias=True)
    if isinstance(stage, Condense):
        shutil.rmtree(work, ignore_errors=True)
        cluster.run(run_condense, job)
    else:
        _train(cluster, stage.resources, job)
    scores = _final_scores(read_metrics(work / METRICS))
    store.commit(key, name, description, scores, monotonic() - began)


def _train(cluster: "Cluster", execution: "Execution", job: str) -> None:
    """A worker that is alone needs no group, which takes Ray Train ten seconds to form."""
    from pipelines.stages import run_training

    cpus, gpus = execution.cpus_per_worker, execution.gpus_per_worker
    if execution.workers == 1 and execution.engine == "torch":
        cluster.run(run_training, job, cpus=cpus, gpus=gpus)
        return
    cluster.run_group(
        run_training,
        job,
        workers=execution.workers,
        cpus_per_worker=cpus,
        gpus_per_worker=gpus,
        prepare=_prepare(execution.engine),
        min_workers=execution.min_workers,
    )


def _prepare(engine: str) -> Callable[[], None] | None:
    if engine != "deepspeed":
        return None
    from trainers.engines.zero import build_ops  # loads torch

    return build_ops


def _final_scores(rows: list[dict[str, float]]) -> dict[str, float]:
    """The last value of every metric that says how good the result is."""
    scores: dict[str, float] = {}
    for row in rows:
        scores |= {name: row[name] for name in SCORES if name in row}
    return scores
