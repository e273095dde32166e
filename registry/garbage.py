"""Which versions nobody needs any more, and what those that stay need: reachability from what people chose.

Only what we registered is looked at; versions that others made, ready models and histories are never garbage. A home
may have been used with several registries: what any of them holds is needed, and only versions of this user's one go.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from registry.history import State, read_state
from registry.inventory import DAY, PIN, Version, aliases_of, everywhere, has, logs, read
from registry.mirror import touch
from registry.refs import close_to, parse_ref
from registry.server import clock, connect, lock, registries, tracking_uri
from registry.shelf import EXPERIMENT, OURS, PAGE, models_of, pages
from zoo.errors import NotFoundError, ZooError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


class Policy(BaseModel):
    """What is kept beside what aliases, histories, pins and ready models hold.

    days: what is younger. newest: so many versions of every name. champions: so many former champions that a rollback
    of a name can go back to (None: all of them). keep: NAME, NAME:VERSION and NAME@ALIAS.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: float = Field(default=30, ge=1)
    newest: int = Field(default=3, ge=1)
    champions: int | None = Field(default=None, ge=1)
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stray:
    """A run that a registration left which died before it made a version."""

    run_id: str
    days: float


@dataclass(frozen=True)
class Census:
    """Why versions stay (by reference), which go, and what the artifacts of those that stay are called."""

    kept: dict[str, str]
    garbage: list[Version]
    strays: list[Stray]
    needed: frozenset[str]


def census(policy: Policy) -> Census:
    """What is garbage now, children before parents.

    Raises `NotFoundError` where a registry is away, and for what is to be kept but not there, `BadInputError` for an
    illegal reference.
    """
    here, *others = registries()
    with connect(here) as client:
        versions, aliases, told = read(client, None, clock(here)), aliases_of(client, None), logs(client)
        _check_known(policy, versions, aliases)
        by_name: dict[str, list[Version]] = {}
        for version in versions:
            by_name.setdefault(version.name, []).append(version)
        kept: dict[str, str] = {}
        for name, of_name in by_name.items():
            state = read_state(client, name) if name in told else State()
            kept |= _chosen(of_name, aliases.get(name, {}), state, clock(here), policy)
        strays = _strays(client, {version.run_id for version in versions}, clock(here), policy.days)
    kept = _with_parents(kept, versions)
    staying = [version for version in versions if version.ref in kept]
    return Census(
        kept=kept,
        garbage=sorted((v for v in versions if v.ref not in kept), key=lambda version: version.days),
        strays=strays,
        needed=_needed([*staying, *everywhere(others)]),
    )


def needed_now() -> frozenset[str]:
    """What the artifacts of all versions that there are now are called, garbage or not."""
    return _needed(everywhere(registries()))


def is_named(words: Collection[str]) -> bool:
    """Whether any version there is now has an artifact that is called so; to be asked right before it goes."""
    for uri in registries():
        with connect(uri) as client:
            if any(has(client, tag, word) for word in words for tag in ("uri", "digest", "parent", "parents")):
                return True
    return False


def drop_version(version: Version, policy: Policy) -> str | None:
    """Delete a version unless somebody has chosen it since; why it stays, or None.

    One request remains between the last look and the deletion. Raises `ZooError` where the version was
    promoted in it.
    """
    with connect() as client, lock():
        of_name = read(client, [version.name], clock(tracking_uri()))
        if version.ref not in {other.ref for other in of_name}:
            return None
        aliases = aliases_of(client, [version.name])[version.name]
        kept = _chosen(of_name, aliases, read_state(client, version.name), clock(tracking_uri()), policy)
        if version.ref in kept:
            return kept[version.ref]
        if any(has(client, tag, version.digest) for tag in ("parent", "parents")):
            return "something was made of it"
        client.delete_model_version(version.name, str(version.number))
        touch(client, version.name)
        state = read_state(client, version.name)
        if version.number in (*state.champions[-1:], state.candidate):
            raise ZooError(
                f"{version.ref} was promoted in the moment in which it was deleted. Its artifact is still there: "
                f"register it again and promote that version"
            )
        _drop_run(client, version.run_id)
    return None


def report_bytes(run_ids: Collection[str]) -> list[int]:
    """What the reports that stand with each run weigh. Raises `RegistryAwayError`."""
    with connect() as client:
        return [_bytes(client, run_id) for run_id in run_ids]


def drop_run(run_id: str) -> str | None:
    """Delete a run that no version has; why it stays, or None."""
    with connect() as client, lock():
        if client.search_model_versions(f"run_id = '{run_id}'", 1):
            return "a version has it"
        _drop_run(client, run_id)
    return None


def _check_known(policy: Policy, versions: list[Version], aliases: Mapping[str, Mapping[str, int]]) -> None:
    """Raise `NotFoundError` for a reference that keeps nothing: it has a slip, and what was meant would go."""
    for ref in policy.keep:
        if not any(_means(ref, version, aliases.get(version.name, {})) for version in versions):
            raise NotFoundError(f"--keep: there is no {ref}; {close_to(parse_ref(ref)[0], aliases)}")


def _means(ref: str, version: Version, aliases: Mapping[str, int]) -> bool:
    """Whether a reference means a version; a plain name means all of them."""
    name, alias, number = parse_ref(ref)
    of_alias = alias is None or aliases.get(alias) == version.number
    return name == version.name and of_alias and number in (None, version.number)


def _chosen(
    versions: list[Version], aliases: Mapping[str, int], state: State, now: float, policy: Policy
) -> dict[str, str]:
    """Why versions of one name stay for their own sake, by reference."""
    former = state.champions if policy.champions is None else state.champions[-policy.champions - 1 :]
    late = [event.record for event in state.events if now - event.when.timestamp() < policy.days * DAY]
    why: dict[int, str] = dict.fromkeys(
        (number for record in late for number in (record.before, record.to) if number),
        f"in the history of the last {policy.days:g} days",
    )
    why |= dict.fromkeys(former, "a rollback can go back to it")
    why |= {state.candidate: "the candidate"} if state.candidate else {}
    why |= {number: f"alias {alias}" for alias, number in sorted(aliases.items(), reverse=True)}
    newest = sorted(version.number for version in versions)[-policy.newest :]
    kept: dict[str, str] = {}
    for version in versions:
        reasons = {
            why.get(version.number, ""): version.number in why,
            f"tag {PIN}": version.is_pinned,
            "--keep": any(_means(ref, version, aliases) for ref in policy.keep),
            "a ready model": version.is_ready,
            f"one of the newest {policy.newest}": version.number in newest,
            f"younger than {policy.days:g} days": version.days < policy.days,
        }
        if reason := next((reason for reason, holds in reasons.items() if holds), None):
            kept[version.ref] = reason
    return kept


def _with_parents(kept: dict[str, str], versions: Collection[Version]) -> dict[str, str]:
    """Also what those were made of that are kept, and so on."""
    by_ref = {version.ref: version for version in versions}
    by_digest: dict[str, list[Version]] = {}
    for version in versions:
        by_digest.setdefault(version.digest, []).append(version)
    kept, todo = dict(kept), list(kept)
    while todo:
        ref = todo.pop()
        for parent in (each for digest in by_ref[ref].made_of for each in by_digest.get(digest, [])):
            if parent.ref not in kept:
                kept[parent.ref] = f"{ref} was made of it"
                todo.append(parent.ref)
    return kept


def _needed(versions: Iterable[Version]) -> frozenset[str]:
    return frozenset(word for version in versions for word in version.names | version.made_of)


def _strays(client: "MlflowClient", used: Collection[str], now: float, days: float) -> list[Stray]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    ids, only = [experiment.experiment_id], f"tags.`{OURS}digest` != ''"
    runs: Iterable[Run] = pages(lambda token: client.search_runs(ids, only, max_results=PAGE, page_token=token))
    ages = [Stray(run.info.run_id, (now - run.info.start_time / 1000) / DAY) for run in runs]
    return [stray for stray in ages if stray.run_id not in used and stray.days >= days]


def _bytes(client: "MlflowClient", run_id: str) -> int:
    folders: list[str | None] = [None]
    total = 0
    while folders:
        for file in client.list_artifacts(run_id, folders.pop()):
            if file.is_dir:
                folders.append(file.path)
            total += file.file_size or 0
    return total


def _drop_run(client: "MlflowClient", run_id: str) -> None:
    """Reports first: whoever is killed here leaves a run that the next collection finds."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    run = client.get_run(run_id)
    assert run.info.artifact_uri, run_id
    if client.list_artifacts(run_id):
        get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri).delete_artifacts()
    for model in models_of(client, run.info.experiment_id, f"source_run_id = '{run_id}'"):
        client.delete_logged_model(model.model_id)
    client.delete_run(run_id)
