"""`zoo bench`: the recipe, then its trials, then the report and the evidence in the registry."""

import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipelines.artifacts.store import Store
from pipelines.bench.evidence import log_evidence
from pipelines.bench.gather import best_rates, gather
from pipelines.bench.metrics import sign
from pipelines.bench.report import FILES, READY, write
from pipelines.bench.results import Results
from pipelines.bench.trials import Plan, trials, tuning
from pipelines.recipe.file import load_recipe
from pipelines.recipe.gates import metric_of
from pipelines.recipe.identity import stage_keys
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Ref, Registered
from pipelines.run.registration import check_registry, register
from pipelines.run.runner import Connect, plan, run
from pipelines.run.status import OnChange, StageStatus
from pipelines.show import messages, scores_text
from pipelines.stages.trial import MODEL
from registry.candidates import Judged, judge_candidates
from zoo.errors import BadInputError
from zoo.files import atomic_folder, check_out

if TYPE_CHECKING:
    from infra.cluster import Cluster
    from registry.entries import Entry


def load_bench(path: Path, overrides: tuple[str, ...], profile: Path | None = None, *, quick: bool) -> Recipe:
    """A recipe with a bench. Raises `BadInputError`.

    With `quick` its own overrides apply before the given ones, its results have a name of their own, and nothing is
    registered: what was trained for a quick look takes no alias from what was trained in full.
    """
    recipe = load_recipe(path, overrides, profile=profile)
    if recipe.bench is None:
        raise BadInputError(f"{path}: bench: the field is missing; it says which starts are compared, at which sizes")
    if not quick:
        return recipe
    if not recipe.bench.quick:
        raise BadInputError(f"{path}: bench.quick: missing or empty; it says what --quick changes")
    own = tuple(f"{field}={json.dumps(value)}" for field, value in recipe.bench.quick.items())
    smaller = load_recipe(path, overrides, (*own, "register={}"), profile)
    return smaller.model_copy(update={"name": f"{smaller.name}-quick"})


def command_line(path: Path, overrides: tuple[str, ...], *, quick: bool) -> str:
    """The command that makes the same results again, as a shell takes it; profiles change none."""
    words = ["zoo", "bench", str(path), *(["--quick"] if quick else [])]
    return shlex.join([*words, *(word for text in overrides for word in ("--set", text))])


@dataclass(frozen=True)
class Benched:
    """What a bench measured, and what became of the candidates whose gates asked for it."""

    results: Results
    judged: Judged


def run_bench(recipe: Recipe, out: Path, address: str, command: str) -> Benched:
    """Run what is not done of the recipe and its bench, write the report to `out`, log it to registered learngenes.

    Then candidates whose gate lets them become champions; a refusal is part of the answer, and costs no result.
    """
    bench, store = recipe.bench, Store.default()
    assert bench is not None
    check_out(out, FILES)
    if recipe.entries:
        check_registry(recipe)
    with ExitStack() as stack:

        @cache
        def cluster() -> "Cluster":
            from infra.cluster import connect

            return stack.enter_context(connect(address))

        tries, names = tuning(recipe, bench)
        tried = _run(tries, store, cluster, "learning rates") if names else []
        planned = trials(recipe, bench, best_rates(names, stage_keys(tries), store, metric_of(recipe)))
        rows = _run(planned.recipe, store, cluster, "trials")
    entries = register(planned.recipe, store, rows)
    seconds = {row.key: row.seconds for row in (*rows, *tried)}
    results = gather(planned, {row.name: row.key for row in rows}, store, command, sum(seconds.values()))
    with atomic_folder(out) as folder:
        write(results, folder)
        if bench.keep:
            keep_ready(planned, results, store, folder)
    owned = owners(planned, entries)
    log_evidence(results, owned, out)
    return Benched(results, judge_candidates(owned.values(), results.name))


def keep_ready(planned: Plan, results: Results, store: Store, folder: Path) -> None:
    """Of the first seed's models of every size, copy the best one that started from a learngene of ours.

    The best on held-out training samples: no choice sees the test split. A size at which all of them diverged has none.
    """
    bench, keys = planned.recipe.bench, stage_keys(planned.recipe)
    assert bench is not None
    stages = {(cell.start, cell.size, cell.seed): cell.stage for cell in planned.cells if cell.kind == "short"}
    kept = [o for o in results.outcomes if o.start in results.ours and o.seed == bench.seeds[0]]
    for size in results.sizes:
        if here := [o for o in kept if o.size == size]:
            best = max(here, key=lambda o: sign(results.metric) * o.points[-1].score)
            model = store.verified(keys[stages[best.start, size, best.seed]]) / MODEL
            shutil.copytree(model, folder / READY / str(size))


def _run(recipe: Recipe, store: Store, connect: Connect, what: str) -> list[StageStatus]:
    rows = plan(recipe, store)
    with _progress(what, rows) as on_change:
        run(recipe, store, rows, connect, on_change)
    return rows


def owners(planned: Plan, entries: "list[Entry]") -> "dict[str, Entry]":
    """The registered learngene of every start that has one: the same stage key is the same learngene."""
    from registry.entries import find_entry  # mlflow takes seconds to import

    keys = stage_keys(planned.recipe)
    by_key = {keys[ref.stage]: entry for ref, entry in zip(planned.recipe.entries.values(), entries, strict=True)}
    found: dict[str, Entry] = {}
    for name, source in planned.learngenes.items():
        if isinstance(source, Registered):
            found[name] = find_entry(source.entry)
        elif isinstance(source, Ref) and keys[source.stage] in by_key:
            found[name] = by_key[keys[source.stage]]
    return found


@contextmanager
def _progress(what: str, rows: list[StageStatus]) -> Iterator[OnChange]:
    """One bar over all stages, and what runs now; where nobody watches, one line a finished stage."""
    done = sum(row.state == "cached" for row in rows)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as display:
        task = display.add_task(what, total=len(rows), completed=done)

        def on_change(row: StageStatus) -> None:
            finished = sum(row.state in ("cached", "done") for row in rows)
            now = ", ".join(row.name for row in rows if row.state == "running")
            display.update(task, completed=finished, description=f"{what}: {now}")
            if not messages.is_terminal and row.state in ("done", "failed", "elsewhere"):
                text = f"[{finished}/{len(rows)}] {row.name}: {row.state} {scores_text(row.scores)}"
                messages.print(text.rstrip(), highlight=False)

        yield on_change
