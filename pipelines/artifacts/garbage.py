"""`zoo gc`: what nobody needs any more, planned and then removed by the same list."""

from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from pipelines.artifacts.litter import Item, Kind, litter, reachable, recover, remove, stages
from pipelines.artifacts.store import Store
from zoo.errors import BadInputError, ZooError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.garbage import Census, Policy

RECIPES = (".yaml", ".yml")


class BusyError(ZooError):
    """Another collection runs on this store."""


@dataclass(frozen=True)
class Plan:
    """What is to go, in this order."""

    policy: "Policy"
    items: tuple[Item, ...]
    census: "Census"


@dataclass(frozen=True)
class Report:
    """What went (of a dry run: would go), what was to go and stays after all with the reason, and why versions stay."""

    dry_run: bool
    gone: tuple[Item, ...]
    spared: tuple[tuple[Item, str], ...]
    kept: dict[str, str]

    @property
    def bytes(self) -> dict[str, int]:
        """By kind."""
        total: Counter[str] = Counter()
        for item in self.gone:
            total[item.kind] += item.bytes
        return dict(total)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        spared = [{**asdict(item), "stays": reason} for item, reason in self.spared]
        gone = [asdict(item) for item in self.gone]
        total = sum(self.bytes.values())
        return {"dry_run": self.dry_run, "gone": gone, "spared": spared, "bytes": self.bytes, "total": total} | {
            "kept": self.kept
        }


def collect(policy: "Policy", recipes: tuple[Path, ...] = (), *, dry_run: bool) -> Report:
    """Find what is garbage by the policy, and remove it unless this is a dry run. What recipes name is kept.

    Raises `BadInputError` where the registry holds nothing but the store does, `NotFoundError` where one is away,
    `BusyError` where another collection runs.
    """
    store = Store.default()
    with _alone(store):
        if dry_run:  # only looks: what a killed collection put aside is a leftover until the next one puts it back
            plan = make_plan(policy, recipes, store)
            return Report(True, plan.items, (), plan.census.kept)
        recover(store)
        plan = make_plan(policy, recipes, store)
        return apply(plan, recipes, store)


def make_plan(policy: "Policy", recipes: tuple[Path, ...], store: Store) -> Plan:
    """What is garbage now.

    Raises `BadInputError` where the registry holds nothing but the store does, and for an illegal recipe or reference;
    `NotFoundError` where a registry is away, or what is to be kept is not there.
    """
    from registry.garbage import census, report_bytes  # mlflow takes seconds to import

    found = census(policy)
    reports = iter(report_bytes([each.run_id for each in (*found.garbage, *found.strays)]))
    versions = [_old("version", v.ref, "nobody chose it", v.days, policy, next(reports)) for v in found.garbage]
    runs = [_old("run", s.run_id, "it has no version", s.days, policy, next(reports)) for s in found.strays]
    here = stages(store)
    on_disk = litter(store, here, reachable(here, found.needed | _keys(recipes)), policy.days)
    if not found.kept and not found.needed and {item.kind for item in on_disk} & {"stage", "artifact"}:
        raise BadInputError(
            f"MLFLOW_TRACKING_URI: the registry holds no version of ours, but there is something in {store.root}; "
            "is this the right registry?"
        )
    return Plan(policy, (*versions, *runs, *on_disk), found)


def _old(kind: Kind, what: str, why: str, days: float, policy: "Policy", size: int) -> Item:
    return Item(kind, what, why, round(days, 2), policy.days, size)


def apply(plan: Plan, recipes: tuple[Path, ...], store: Store) -> Report:
    """Remove what a plan says, as far as it is garbage still."""
    from registry import garbage

    done: list[tuple[Item, str | None]] = []
    by_ref = {version.ref: version for version in plan.census.garbage}
    for item in plan.items:
        if item.kind == "version":
            done.append((item, garbage.drop_version(by_ref[item.what], plan.policy)))
        elif item.kind == "run":
            done.append((item, garbage.drop_run(item.what)))
    here = stages(store)
    used = reachable(here, garbage.needed_now() | _keys(recipes))  # versions that were spared, or are new
    for item in plan.items:
        if item.kind not in ("version", "run"):
            reason = "a version needs it" if used & set(item.words) else remove(item, store, garbage.is_named)
            done.append((item, reason))
    gone = tuple(item for item, reason in done if reason is None)
    return Report(False, gone, tuple((item, reason) for item, reason in done if reason), plan.census.kept)


def _keys(recipes: tuple[Path, ...]) -> frozenset[str]:
    from pipelines.recipe.file import load_recipe
    from pipelines.recipe.identity import stage_keys

    return frozenset(key for path in recipes for key in stage_keys(load_recipe(path, ())).values())


@contextmanager
def _alone(store: Store) -> "Iterator[None]":
    store.root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(store.root / "gc.lock", timeout=0):
            yield
    except Timeout:
        raise BusyError(f"another collection of {store.root} runs; wait until it has ended") from None
