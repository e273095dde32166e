"""A bench as stages of a recipe: so its trials run, resume and are shared like any other stage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from pipelines.bench.results import SCRATCH, Skipped
from pipelines.recipe.bench import Bench, Start
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.sources import origin
from pipelines.recipe.stages import Condense, Fit, Ref, Score, Source, Stage, Trial, sources
from trainers.config import Training
from zoo import Size
from zoo.errors import BadInputError
from zoo.families import configure
from zoo.methods.mupscaling import MuPScaling

Kind = Literal["short", "reference"]
Rates = dict[str, dict[str, float]]
"""A learning rate by start and `str(size)`."""


@dataclass(frozen=True)
class Cell:
    """One training of a bench: the stage that runs it, and the stages whose cost it carries.

    learngene: what its start inherits from (null: from nothing, as scratch).
    """

    stage: str
    start: str
    size: Size
    seed: int
    kind: Kind
    learngene: Source | None = None
    fit: str | None = None


@dataclass
class Plan:
    """The recipe with the stages of its bench, what they mean, and the learning rates by start and size."""

    recipe: Recipe
    rates: Rates
    cells: list[Cell] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ancestors: dict[str, str] = field(default_factory=dict)
    """The stage that scores it, by the name of an ancestor."""
    learngenes: dict[str, Source] = field(default_factory=dict)
    """What the learngene of a start is, by the start's name."""


def tuning(recipe: Recipe, bench: Bench) -> tuple[Recipe, dict[str, dict[str, dict[float, str]]]]:
    """The recipe with the stages that try learning rates, and their names by start, size and rate.

    A start's tries are the first seed's short trainings, so the best one is not trained again.
    """
    plan, first = Plan(recipe, {}), bench.seeds[0]
    stages: dict[str, Stage] = {}
    names: dict[str, dict[str, dict[float, str]]] = {}
    if len(bench.reference.lr) > 1:
        for size in bench.sizes:
            for lr in bench.reference.lr:
                name = f"tune.{SCRATCH}.{size}.lr{lr:g}"
                train = _training(bench, first, steps=bench.reference.tune_steps, lr=lr)
                stages[name] = _trial(bench, size=size, train=train, score_at=())
                names.setdefault(SCRATCH, {}).setdefault(str(size), {})[lr] = name
    for name, start in bench.starts.items() if bench.lr and len(bench.lr) > 1 else ():
        tries = partial(_tries, bench, name)
        stages |= _stages_of(recipe, bench, name, start, plan, tries)
    for cell in plan.cells:
        trial = stages[cell.stage]
        assert isinstance(trial, Trial)
        names.setdefault(cell.start, {}).setdefault(str(cell.size), {})[trial.train.lr] = cell.stage
    return _with_stages(recipe, stages), names


def trials(recipe: Recipe, bench: Bench, rates: Rates) -> Plan:
    """All trials; `rates` are what was chosen, and where nothing was the recipe's only one is taken."""
    plan, stages = Plan(recipe, rates), {}
    for size in bench.sizes:
        lr = rates.get(SCRATCH, {}).get(str(size), bench.reference.lr[0])
        for seed in bench.seeds:
            lengths: dict[Kind, int | None] = {"reference": bench.reference.steps, "short": None}
            for kind, steps in lengths.items():
                name = f"{kind}.{SCRATCH}.{size}.s{seed}"
                stages[name] = _trial(bench, size=size, train=_training(bench, seed, steps=steps, lr=lr))
                plan.cells.append(Cell(name, SCRATCH, size, seed, kind))
    for name, start in bench.starts.items():
        stages |= _stages_of(recipe, bench, name, start, plan, partial(_seeds, bench, name, rates.get(name, {})))
    for label, source in _ancestors(recipe, bench):
        plan.ancestors[label] = f"score.{label}"
        stages[f"score.{label}"] = Score(run="score", weights=source)
    plan.recipe = _with_stages(recipe, stages)
    return plan


def _tries(bench: Bench, name: str, size: Size) -> dict[str, Training]:
    return {f"tune.{name}.{size}.lr{lr:g}": _training(bench, bench.seeds[0], lr=lr) for lr in bench.lr or ()}


def _seeds(bench: Bench, name: str, rates: dict[str, float], size: Size) -> dict[str, Training]:
    lr = rates.get(str(size), bench.lr[0] if bench.lr else None)
    return {f"short.{name}.{size}.s{seed}": _training(bench, seed, lr=lr) for seed in bench.seeds}


def _stages_of(
    recipe: Recipe, bench: Bench, name: str, start: Start, plan: Plan, trainings: Callable[[Size], dict[str, Training]]
) -> dict[str, Stage]:
    """The stages of one start, with its `trainings` of every size; what it cannot do goes to `plan.skipped`."""
    stages: dict[str, Stage] = {}
    given = start.learngene or start.weights
    assert given is not None
    arch, made_by = origin(recipe, given)
    method = start.method or made_by
    if method is None:
        raise BadInputError(f"bench.starts.{name}.learngene: it is a checkpoint; give it as weights, with a method")
    widens = isinstance(method, MuPScaling)
    learngene = given
    if start.method and not widens:
        stages[f"condense.{name}"] = Condense(run="condense", method=start.method, weights=given)
        learngene = Ref(stage=f"condense.{name}")
    plan.learngenes[name] = learngene
    inherited = None if start.method and not start.method.inherits else learngene
    for size in bench.sizes:
        try:
            method.legal(arch).check(size)
        except BadInputError as error:
            plan.skipped.append(Skipped(start=name, size=size, why=str(error)))
            continue
        source, fit = learngene, None
        if start.fit:
            fit = f"fit.{name}.{size}"
            stages[fit] = Fit(run="fit", learngene=learngene, size=size, train=start.fit, resources=bench.resources)
            source = Ref(stage=fit)
        for stage, train in trainings(size).items():
            stages[stage] = _trial(
                bench,
                size=size,
                train=train,
                start=source,
                widen=method if widens else None,
                calibrate=start.calibrate,
                ancestor=start.weights if start.calibrate else None,
                keep=bench.keep and train.seed == bench.seeds[0],
            )
            plan.cells.append(Cell(stage, name, size, train.seed, "short", inherited, fit))
    return stages


def _trial(bench: Bench, **fields: object) -> Trial:
    settings = {"run": "trial", "score_at": bench.score_at, "resources": bench.resources}
    return Trial.model_validate(settings | fields)


def _training(bench: Bench, seed: int, *, steps: int | None = None, lr: float | None = None) -> Training:
    update: dict[str, object] = {"seed": seed}
    if steps is not None:
        update |= {"steps": steps, "epochs": None}
    if lr is not None:
        update |= {"lr": lr}
    return bench.train.model_copy(update=update)


def _ancestors(recipe: Recipe, bench: Bench) -> Iterator[tuple[str, Source]]:
    """The trained models and learngenes that the starts come from and that do the recipe's task, each once."""
    seen: dict[str, Source] = {}
    config = configure(recipe.family, recipe.config)
    for name, start in bench.starts.items():
        for _, given in sources(start):
            source = given
            while isinstance(source, Ref) and isinstance(stage := recipe.stages[source.stage], Condense):
                source = stage.weights
            label = source.stage if isinstance(source, Ref) else name
            if source not in seen.values() and origin(recipe, source)[0].config == config:
                seen[label] = source
    yield from seen.items()


def _with_stages(recipe: Recipe, stages: dict[str, Stage]) -> Recipe:
    clash = sorted(recipe.stages.keys() & stages.keys())
    if clash:
        raise BadInputError(f"stages.{clash[0]}: a bench makes a stage of this name; choose another")
    return recipe.model_copy(update={"stages": {**recipe.stages, **stages}})
