"""Mistakes of a gate that would only show when a bench has run for hours: sizes, scores and starts that it has not."""

from collections.abc import Iterator

from pipelines.bench.results import Metric
from pipelines.recipe.bench import Bench, Start
from pipelines.recipe.recipe import Recipe, Registration
from pipelines.recipe.stages import Condense, Loc, Ref
from registry.gate import Gate
from zoo.families import FAMILIES, configure


def gate_mistakes(recipe: Recipe) -> Iterator[tuple[Loc, str]]:
    """What the recipe's own bench does not measure; of the bench of another recipe nothing is known here."""
    for name, entry in recipe.entries.items():
        if entry.gate and entry.gate.bench == recipe.name:
            here: Loc = ("register", name, "gate")
            if recipe.bench is None:
                yield (*here, "bench"), "this recipe has no bench; add one, or name that of another recipe"
            else:
                for field, text in _mistakes(recipe, recipe.bench, entry, entry.gate):
                    yield (*here, field), text


def _mistakes(recipe: Recipe, bench: Bench, entry: Registration, gate: Gate) -> Iterator[tuple[str, str]]:
    sizes = [str(size) for size in bench.sizes]
    for size in gate.sizes:
        if size not in sizes:
            yield "sizes", f"{size} is not measured; legal values: {', '.join(sizes)}"
    if gate.metric != metric_of(recipe):
        yield "metric", f"{gate.metric!r} is not measured; legal value: {metric_of(recipe)}"
    starts = [name for name, start in bench.starts.items() if _is_start(recipe, entry, start)]
    if not starts:
        yield "bench", f"no start of the bench is the learngene of stage {entry.stage!r}"
    elif gate.start is not None and gate.start not in starts:
        yield "start", f"{gate.start!r} is not this learngene; legal values: {', '.join(starts)}"


def metric_of(recipe: Recipe) -> Metric:
    """What a bench of the recipe compares: accuracy where there are classes, else the loss."""
    task = FAMILIES[recipe.family].task(configure(recipe.family, recipe.config))
    return "accuracy" if task == "classification" else "eval_loss"


def _is_start(recipe: Recipe, entry: Registration, start: Start) -> bool:
    if isinstance(start.learngene, Ref):
        return start.learngene.stage == entry.stage
    stage = recipe.stages[entry.stage]
    return isinstance(stage, Condense) and (stage.weights, stage.method) == (start.weights, start.method)
