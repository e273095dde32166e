"""Many versions at once, written into MLflow's own tables: registering ten thousand one by one takes half an hour.

What is written is what `registry.register` and a bench leave behind for one learngene, with other names, numbers and
configs; the benchmark checks that the registry reads the first one exactly as it reads a registered one.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from numpy.random import Generator, default_rng

from benchmarks.rows import SEED
from registry.entries import Entry
from registry.shelf import EXPERIMENT, OURS
from zoo.files import canonical_json

SHAPES = 60  # different (config, size): what teams have, times what they try
SIZES = ((3, 96), (6, 96), (12, 96), (6, 64), (8, 128), (6, 192))
TASKS = ("cifar10", "digits", "flowers", "pets")
MILLISECONDS = 1_760_000_000_000


@dataclass(frozen=True)
class Filled:
    """How many versions of how many names."""

    versions: int
    names: int


def fill(database: str, like: Entry, versions: int, per_name: int) -> Filled:
    """Add versions like an entry that is there. `database` is SQLAlchemy's address."""
    import sqlalchemy
    from mlflow.store.model_registry.dbmodels import models as registry
    from mlflow.store.tracking.dbmodels import models as tracking

    engine = sqlalchemy.create_engine(database)
    rng = default_rng(SEED)
    with engine.begin() as connection:
        experiment = connection.execute(
            sqlalchemy.select(tracking.SqlExperiment.experiment_id).where(tracking.SqlExperiment.name == EXPERIMENT)
        ).scalar_one()
        rows: dict[Any, list[dict[str, Any]]] = {}
        for i in range(versions):
            for table, row in _rows(i, per_name, like, experiment, rng, registry, tracking):
                rows.setdefault(table, []).append(row)
        order = (tracking.SqlRun, registry.SqlRegisteredModel, registry.SqlModelVersion, registry.SqlModelVersionTag)
        order += (tracking.SqlLoggedModel, tracking.SqlLoggedModelTag, tracking.SqlLoggedModelMetric)
        for table in order:
            connection.execute(sqlalchemy.insert(table), rows[table])
    engine.dispose()
    return Filled(versions, -(-versions // per_name))


def _rows(  # one version in all tables
    i: int, per_name: int, like: Entry, experiment: int, rng: Generator, registry: Any, tracking: Any
) -> list[tuple[Any, dict[str, Any]]]:
    name, version, when = f"filled.{i // per_name}", i % per_name + 1, MILLISECONDS + 1000 * i
    digest, task = sha256(str(i).encode()).hexdigest(), TASKS[i // per_name % len(TASKS)]
    run, model = digest[:32], f"m-{digest[32:]}"
    tags = _tags(i, like, digest) | {"recipe": f"vit-{task}"}
    metrics = {"parameters": float(like.parameters), "accuracy": rng.random()} | _evidence(f"vit-{task}", rng)
    rows: list[tuple[Any, dict[str, Any]]] = []
    if version == 1:
        rows.append((registry.SqlRegisteredModel, {"name": name, "creation_time": when, "last_updated_time": when}))
    rows.append(
        (
            tracking.SqlRun,
            {"run_uuid": run, "name": name, "experiment_id": experiment, "status": "FINISHED", "start_time": when},
        )
    )
    place = {"name": name, "version": version}
    about = {"creation_time": when, "last_updated_time": when, "source": f"learngene:/{digest}", "run_id": run}
    rows.append((registry.SqlModelVersion, place | about))
    rows += [(registry.SqlModelVersionTag, place | {"key": key, "value": text}) for key, text in tags.items()]
    logged = {"model_id": model, "experiment_id": experiment}
    stamps = {"creation_timestamp_ms": when, "last_updated_timestamp_ms": when, "artifact_location": "none"}
    rows.append((tracking.SqlLoggedModel, logged | stamps | {"name": name, "status": 2, "source_run_id": run}))
    named = {f"{OURS}name": name, f"{OURS}digest": digest}
    rows += [(tracking.SqlLoggedModelTag, logged | {"tag_key": k, "tag_value": text}) for k, text in named.items()]
    point = logged | {"run_id": run, "metric_timestamp_ms": when, "metric_step": 0}
    rows += [
        (tracking.SqlLoggedModelMetric, point | {"metric_name": key, "metric_value": value})
        for key, value in metrics.items()
    ]
    return rows


def _tags(i: int, like: Entry, digest: str) -> dict[str, str]:
    shape = i * 7919 % SHAPES
    assert like.config is not None
    assert like.size is not None
    config = like.config | {"num_classes": 2 + shape}
    own = {
        "digest": digest,
        "uri": like.uri,
        "family": like.family,
        "method": ("front", "weit", "bot", "principal")[i % 4],
        "parameters": str(like.parameters),
        "legal": canonical_json(like.legal.model_dump(mode="json")),
        "config": canonical_json(config),
        "size": canonical_json(like.size.model_dump(mode="json")),
        "parents": canonical_json(like.parents),
    }
    return {OURS + key: text for key, text in own.items()}


def _evidence(bench: str, rng: Generator) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for depth, width in rng.permutation(SIZES)[:3]:
        place = f"bench/{bench}/front/{depth}x{width}"
        scores = {"accuracy": rng.random(), "scratch": rng.random(), "reference": rng.random()}
        numbers |= {f"{place}/{what}": value for what, value in scores.items()}
        numbers[f"{place}/speed_up"] = 10 * rng.random()
    return numbers
