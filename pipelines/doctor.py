"""`zoo doctor`: whether this machine, its store, its registry and a cluster are fit for work. One row a check."""

import os
import platform
import shutil
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pipelines.artifacts.check import check_store
from pipelines.artifacts.lease import store_time
from pipelines.artifacts.store import Store
from registry.doctor import Check, check_registry, clock_check
from zoo.errors import ZooError
from zoo.files import home
from zoo.signatures import TRUSTED, trusted_keys

GIB = 2**30
LEAST_MEMORY, LEAST_DISK = 4 * GIB, GIB
FREE = 0.2
"""The share of a disk that should be free (the run book alerts below it)."""
GIVES = {
    "vision": "ViT, ResNet, ConvNeXt as timm models",
    "text": "BERT, RoBERTa, GPT-2 as transformers models",
    "train": "training, DeepSpeed, data in shards",
    "s3": "data on S3",
    "registry": "the registry on an SQLite file or a server",
    "pull": "the registry on a server, for jobs that only make models",
    "onnx": "`zoo export`",
    "sign": "signatures of learngenes",
    "cluster": "runs on Ray",
    "server": "an MLflow server with users on PostgreSQL",
}
"""What the extras are for."""
SUMS = ("all", "dev")
"""Extras of extras, and what developers need."""


def checks(address: str | None = None) -> list[Check]:
    """All rows; with an address also those about the Ray that should answer there."""
    rows = [*_machine(), *_packages(), webdataset_check(), keys_check()]
    rows += _home()
    rows += check_registry()
    if all(row.state == "ok" for row in rows if row.name in ("artifact store", "registry", "registry access")):
        rows.append(_orphans())
    return rows + (_ray(address) if address else [])


def webdataset_check() -> Check:
    """Whether webdataset decodes pickles where others import it; for our own readers it never does."""
    setting = os.environ.get("WDS_SECURE", "")
    if setting in ("", "1"):
        return Check("webdataset", "ok", "never decodes pickles in our readers")
    advice = "set it to 1, for programs of yours that read shards too"
    return Check("webdataset", "warning", f"WDS_SECURE is {setting!r}; our readers set it to 1 themselves", advice)


def keys_check() -> Check:
    """How many keys may sign what is listed and pulled; a policy that cannot be read lets nothing through."""
    try:
        keys = trusted_keys()
    except ZooError as error:
        return Check("trusted keys", "failure", str(error), f"let {TRUSTED} name public keys, or unset it")
    if keys is None:
        return Check("trusted keys", "ok", f"{TRUSTED} is not set: no signature is asked for")
    return Check("trusted keys", "ok", f"{len(keys)} of {os.environ[TRUSTED]}")


def _machine() -> list[Check]:
    ours = SpecifierSet(distribution("learngene-zoo").metadata["Requires-Python"])
    here, legal = platform.python_version(), ours.contains(platform.python_version())
    rows = [
        Check("python", "ok", f"{here} on {platform.platform()}")
        if legal
        else Check("python", "failure", f"{here}; legal: {ours}", "make the environment with another Python")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = f"{len(os.sched_getaffinity(0))} cores, {memory / GIB:.1f} GiB of memory"
    few = memory < LEAST_MEMORY
    advice = f"trainings want {LEAST_MEMORY // GIB} GiB; models can be made with less"
    return [*rows, Check("machine", "warning" if few else "ok", found, advice if few else "")]


def _packages() -> list[Check]:
    """Against what the project's own metadata ask for: the core, and each extra."""
    wanted = [Requirement(text) for text in distribution("learngene-zoo").requires or []]
    core = [requirement for requirement in wanted if requirement.marker is None]
    extras = {
        extra: [each for each in wanted if each.marker and each.marker.evaluate({"extra": extra})]
        for extra in distribution("learngene-zoo").metadata.get_all("Provides-Extra") or ()
        if extra not in SUMS
    }
    return [package_check("", core), *(package_check(extra, of_extra) for extra, of_extra in extras.items())]


def package_check(extra: str, wanted: list[Requirement]) -> Check:
    """Whether what an extra (empty: the core) asks for is installed, and in the right versions."""
    there = {requirement.name: _version(requirement.name) for requirement in wanted}
    missing = sorted(name for name, found in there.items() if found is None)
    wrong = [
        f"{requirement.name} {found}, wanted is {requirement.specifier}"
        for requirement in wanted
        if (found := there[requirement.name]) and not requirement.specifier.contains(found, prereleases=True)
    ]
    if "mlflow" in there and there["mlflow"] and there["mlflow"] != _version("mlflow-skinny"):
        wrong.append(f"mlflow {there['mlflow']}, but mlflow-skinny {_version('mlflow-skinny')}; they must be the same")
    name = f"packages: {extra}" if extra else "packages"
    install = f"pip install 'learngene-zoo{f'[{extra}]' if extra else ''}'"
    if wrong or (missing and not extra):
        return Check(name, "failure", "; ".join([*wrong, *(f"no {each}" for each in missing)]), install)
    if missing:
        return Check(name, "warning", f"not here: {', '.join(missing)}", f"{install} gives {GIVES[extra]}")
    return Check(name, "ok", ", ".join(f"{name} {found}" for name, found in sorted(there.items())))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _home() -> list[Check]:
    said = "ZOO_HOME" if os.environ.get("ZOO_HOME") else "ZOO_HOME is not set"
    place = next(folder for folder in (home(), *home().parents) if folder.exists())
    disk = shutil.disk_usage(place)
    found = f"{said}: {home()}, {disk.free / GIB:.1f} of {disk.total / GIB:.1f} GiB free"
    advice = "make room (`zoo gc --dry-run`), or set ZOO_HOME to another disk"
    low = "failure" if disk.free < LEAST_DISK else "warning" if disk.free < FREE * disk.total else "ok"
    rows = [Check("disk", low, found, "" if low == "ok" else advice), check_store(Store.default().root)]
    if rows[-1].state != "failure":
        rows.append(clock_check("store clock", store_time(Store.default().root) - time.time()))
    return rows


def _orphans() -> Check:
    """What a collection of garbage by its defaults would take."""
    from pipelines.artifacts.garbage import BusyError, collect
    from registry.garbage import Policy

    try:
        report = collect(Policy(), dry_run=True)
    except BusyError as error:
        return Check("orphans", "warning", f"not looked at: {error}", "ask again when it has ended")
    except ZooError as error:
        return Check("orphans", "failure", str(error), "see the message")
    if not report.gone:
        return Check("orphans", "ok", "nothing to collect")
    found = f"{len(report.gone)} things, {sum(report.bytes.values()) / GIB:.2f} GiB, that nobody needs"
    return Check("orphans", "warning", found, "`zoo gc --dry-run` lists them, `zoo gc` deletes them")


def _ray(address: str) -> list[Check]:
    reach: Callable[[str], str] = _job_server if address.startswith(("http://", "https://")) else _cluster
    try:
        rows = [Check("ray", "ok", reach(address))]
    except ZooError as error:
        return [
            Check("ray", "failure", str(error), "start it, or give another --address; with a token: RAY_AUTH_TOKEN")
        ]
    if address == "local":
        return rows
    return [*rows, token_check()]


def token_check() -> Check:
    """Whether Ray is to ask for a token: without one, whoever reaches a port of it runs code there."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray/auth_token").expanduser()
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return Check(
            "ray token", "warning", "RAY_AUTH_MODE is not 'token'", "set it here and on all nodes (docs/deploy.md)"
        )
    if not os.environ.get("RAY_AUTH_TOKEN") and not path.is_file():
        return Check("ray token", "failure", f"no RAY_AUTH_TOKEN, and no {path}", "set one of them")
    return Check("ray token", "ok", "set")


def _cluster(address: str) -> str:
    from infra.cluster import connect

    with connect(address) as cluster:
        nodes = cluster.everywhere(platform.node)
        return f"{address}: {len(nodes)} nodes take work ({', '.join(sorted(nodes))})"


def _job_server(address: str) -> str:
    from infra.jobs import Jobs
    from pipelines.run.jobs import statuses

    return f"{address}: a job server with {len(statuses(Jobs(address)))} of our jobs"
