"""Finished trials as the results of a bench."""

import json
import os
import platform
from importlib.metadata import version

from pipelines.artifacts.store import Store
from pipelines.bench.metrics import sign
from pipelines.bench.results import SCRATCH, Ancestor, Cost, Metric, Outcome, Point, Results, Skipped
from pipelines.bench.trials import Cell, Plan, Rates
from pipelines.recipe.bench import Bench
from pipelines.recipe.gates import metric_of
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Ref, Source, inputs
from pipelines.stages.trial import SCORES, Scores
from zoo.errors import DivergedError
from zoo.families import configure


def read_scores(store: Store, key: str) -> Scores:
    """The result of a finished trial or score stage."""
    return Scores.model_validate_json((store.verified(key) / SCORES).read_text(encoding="utf-8"))


def best_rates(
    names: dict[str, dict[str, dict[float, str]]], keys: dict[str, str], store: Store, metric: Metric
) -> Rates:
    """The learning rates with the best last scores on held-out training samples, among those that converged.

    Raises `DivergedError` where scratch has none; another start without one goes on with its first, and is reported.
    """
    best: Rates = {}
    for start, by_size in names.items():
        for size, by_rate in by_size.items():
            scores = {lr: read_scores(store, keys[name]) for lr, name in by_rate.items()}
            last = {lr: sign(metric) * s.points[-1][metric] for lr, s in scores.items() if s.diverged is None}
            if not last and start == SCRATCH:
                tried = ", ".join(map(str, by_rate))
                raise DivergedError(f"bench.reference.lr: scratch diverges at {size} with all of {tried}")
            best.setdefault(start, {})[size] = max(last or by_rate, key=lambda lr: last.get(lr, 0.0))
    return best


def gather(plan: Plan, keys: dict[str, str], store: Store, command: str, seconds: float) -> Results:
    """All outcomes; `seconds` is what all stages took together, tries of learning rates too.

    Raises `DivergedError` where the reference itself diverged; other starts are reported as such.
    """
    metric, costs, bench = metric_of(plan.recipe), _Costs(plan.recipe, keys, store), plan.recipe.bench
    assert bench is not None
    outcomes: list[Outcome] = []
    reference: list[Outcome] = []
    skipped = list(plan.skipped)
    for cell in plan.cells:
        scores = read_scores(store, keys[cell.stage])
        if scores.diverged is None:
            (reference if cell.kind == "reference" else outcomes).append(_outcome(cell, scores, metric, costs))
        elif cell.kind == "reference":
            raise DivergedError(f"bench.reference: scratch at {cell.size}: {scores.diverged}")
        else:
            skipped.append(Skipped(start=cell.start, size=cell.size, why=f"seed {cell.seed}: {scores.diverged}"))
    return Results(
        name=plan.recipe.name,
        metric=metric,
        reference=tuple(reference),
        outcomes=tuple(outcomes),
        skipped=tuple(skipped),
        ancestors=tuple(_ancestor(name, read_scores(store, keys[stage])) for name, stage in plan.ancestors.items()),
        ours=tuple(name for name, start in bench.starts.items() if not start.baseline),
        rates=plan.rates,
        about=_about(plan.recipe, bench, command)
        | {"time": f"{seconds / 60:.0f} minutes of trainings, several at a time"},
    )


class _Costs:
    """What stages have cost, from their records."""

    def __init__(self, recipe: Recipe, keys: dict[str, str], store: Store) -> None:
        self._recipe, self._keys, self._store = recipe, keys, store

    def of_stage(self, name: str) -> Cost:
        record = self._store.record(self._keys[name])
        assert record is not None, name
        return Cost(steps=round(record.scores.get("step", 0)), flops=record.scores.get("flops", 0.0))

    def seconds(self, name: str) -> float:
        record = self._store.record(self._keys[name])
        assert record is not None, name
        return record.seconds

    def of_source(self, source: Source | None) -> Cost:
        """Of a stage and all that it starts from; a folder and an entry of the registry are given, and cost nothing."""
        if not isinstance(source, Ref):
            return Cost()
        costs = [self.of_stage(name) for name in self._closure(source.stage)]
        return Cost(steps=sum(cost.steps for cost in costs), flops=sum(cost.flops for cost in costs))

    def _closure(self, name: str) -> set[str]:
        return {name}.union(*(self._closure(parent) for parent in inputs(self._recipe.stages[name])))


def _outcome(cell: Cell, scores: Scores, metric: Metric, costs: _Costs) -> Outcome:
    fit = costs.of_stage(cell.fit) if cell.fit else Cost()
    points = (Point(step=round(p["step"]), flops=p["flops"], score=p[metric]) for p in scores.points)
    return Outcome(
        start=cell.start,
        size=cell.size,
        seed=cell.seed,
        parameters=scores.parameters,
        points=tuple(points),
        test=scores.test,
        seconds=costs.seconds(cell.stage),
        once=costs.of_source(cell.learngene),
        per_size=Cost(steps=fit.steps, flops=fit.flops + scores.spent),
    )


def _ancestor(name: str, scores: Scores) -> Ancestor:
    return Ancestor(name=name, size=scores.size, parameters=scores.parameters, test=scores.test)


def _about(recipe: Recipe, bench: Bench, command: str) -> dict[str, str]:
    train, reference = bench.train, bench.reference
    length = f"{train.steps} steps" if train.steps else f"{train.epochs:g} epochs"
    config = configure(recipe.family, recipe.config).model_dump_json(exclude_defaults=True)
    rates = ", ".join(f"{lr:g}" for lr in reference.lr)
    short = f"chosen from {', '.join(f'{lr:g}' for lr in bench.lr)}" if bench.lr else f"{train.lr:g}"
    data = {"kind": recipe.data.kind} | recipe.data.model_dump(mode="json", exclude_defaults=True)
    packages = ("learngene-zoo", "torch", "timm", "transformers")
    return {
        "command": command,
        "data": json.dumps(data),
        "family": f"{recipe.family} {config}",
        "training": f"{length}, batch {train.batch}, {train.optimizer}, learning rate {short}",
        "reference": f"scratch, {reference.steps} steps, learning rate chosen from {rates}",
        "seeds": ", ".join(map(str, bench.seeds)),
        "hardware": f"{platform.machine()}, {os.cpu_count()} CPUs, {bench.resources.cpus_per_worker} per training",
        "versions": ", ".join(
            (f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages))
        ),
    }
