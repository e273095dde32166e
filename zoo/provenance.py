"""`Provenance`: where a learngene comes from, and what it cost: `provenance.json` beside the manifest.

It is not part of the digest: the same learngene made on another machine is the same learngene. What was registered has
the SHA-256 of this file in its tag `provenance`.
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError

from zoo.errors import IntegrityError
from zoo.files import digest_file, write_json
from zoo.untrusted import Sha, read_plain, strict_json

PROVENANCE = "provenance.json"
SCHEMA = 1
PROVENANCE_BYTES = 2**24
"""The most that the file may have."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Frozen):
    """The version of learngene-zoo, and the commit where it ran from a checkout; `changed`: with changed files."""

    version: str
    commit: str | None = None
    changed: bool = False

    def __str__(self) -> str:
        commit = f", commit {self.commit[:12]}" if self.commit else ""
        return f"learngene-zoo {self.version}{commit}{' with changes' if self.changed else ''}"


class Hardware(_Frozen):
    """The host of the first worker: `cores` are all of it, `memory` in bytes, `gpus` those that the worker saw."""

    machine: str
    processor: str
    cores: int
    memory: int
    gpus: tuple[str, ...] = ()

    def __str__(self) -> str:
        gpus = f", {', '.join(self.gpus)}" if self.gpus else ""
        return f"{self.processor} ({self.machine}), {self.cores} cores, {self.memory / 2**30:.0f} GiB{gpus}"


class Environment(_Frozen):
    """What a stage ran on; `versions` of Python and of the libraries that numbers depend on."""

    code: Code
    versions: dict[str, str]
    hardware: Hardware


class Effort(_Frozen):
    """What a stage took: seconds times the cores (GPUs) that were its own, over all `starts` of its workers.

    A start that was cut off counts up to its last sign of life; one that left no checkpoint behind does not count.
    """

    environment: Environment
    starts: NonNegativeInt
    core_seconds: NonNegativeFloat
    gpu_seconds: NonNegativeFloat


class Cost(_Frozen):
    """Hours of cores and GPUs (None: not known, the stage is older than the count) and counted FLOPs."""

    core_hours: NonNegativeFloat | None
    gpu_hours: NonNegativeFloat | None
    flops: NonNegativeFloat

    def __add__(self, other: "Cost") -> "Cost":
        hours = ((getattr(self, name), getattr(other, name)) for name in ("core_hours", "gpu_hours"))
        cores, gpus = (None if a is None or b is None else a + b for a, b in hours)
        return Cost(core_hours=cores, gpu_hours=gpus, flops=self.flops + other.flops)

    def __str__(self) -> str:
        hours = "hours not known" if self.core_hours is None else _hours(self.core_hours, "core")
        gpus = f", {_hours(self.gpu_hours, 'GPU')}" if self.gpu_hours else ""
        return hours + gpus + (f", {self.flops:.3g} FLOPs" if self.flops else "")


def _hours(hours: float, what: str) -> str:
    return f"{hours:.3g} {what} hours" if hours >= 0.1 else f"{3600 * hours:.3g} {what} seconds"


FREE, UNKNOWN = Cost(core_hours=0.0, gpu_hours=0.0, flops=0.0), Cost(core_hours=None, gpu_hours=None, flops=0.0)


class Origin(_Frozen):
    """What a stage started from: another stage (`name`), an entry of the registry (`name`), or a folder.

    digest: of the learngene's manifest or of the weights' file (None: the stage gives neither).
    cost: of a learngene from outside and all before it, where it says so; a folder that does not costs nothing here.
    """

    kind: Literal["stage", "entry", "folder"]
    name: str = ""
    digest: Sha | None = None
    cost: Cost = FREE


class Made(_Frozen):
    """One stage: what it was told, what it started from, and what it cost.

    digest: of what it made, as in `Origin`. key: the hash of function, config and inputs, with the content of the data.
    data: whether it saw the data of the recipe. environment: None where the stage is older than this record.
    """

    stage: str
    function: str
    key: Sha
    config: dict[str, Any]
    seed: int | None = None
    inputs: dict[str, Origin]
    data: bool
    digest: Sha | None
    cost: Cost
    environment: Environment | None


class Data(_Frozen):
    """The data: their `kind`, the digest of their content, and that of `index.json` where there is one."""

    kind: str
    digest: Sha
    index: Sha | None = None


class Recipe(_Frozen):
    """The recipe that a stage was made by: its file as it was read, and what `--set` changed."""

    name: str
    text: str
    overrides: tuple[str, ...] = ()


class Provenance(_Frozen):
    """Where a learngene comes from; `stages` are all that it needed, itself last."""

    schema_version: Literal[1] = SCHEMA
    learngene: Sha
    recipe: Recipe | None
    data: Data | None
    stages: Annotated[tuple[Made, ...], Field(min_length=1)]

    @property
    def own(self) -> Made:
        """The stage that made the learngene."""
        return self.stages[-1]

    @property
    def cost(self) -> Cost:
        """Of all stages, and of the learngenes from outside that they started from, each once."""
        origins = {origin.digest: origin.cost for stage in self.stages for origin in stage.inputs.values()}
        return sum([*origins.values(), *(stage.cost for stage in self.stages)], FREE)


def write_provenance(folder: Path, provenance: Provenance) -> str:
    """Write the file beside the manifest, without credentials; its SHA-256 (hex)."""
    write_json(folder / PROVENANCE, without_credentials(provenance.model_dump(mode="json")))
    return digest_file(folder / PROVENANCE)


def read_provenance(folder: Path, promised: str | None = None) -> Provenance | None:
    """What a folder says, None where it says nothing. Raises `IntegrityError` for what is none, or not `promised`."""
    path = folder / PROVENANCE
    try:
        content = read_plain(path, PROVENANCE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if promised is not None and (found := hashlib.sha256(content).hexdigest()) != promised:
        raise IntegrityError(f"{path}: digest {found[:12]}..., registered was {promised[:12]}...")
    try:
        return Provenance.model_validate(strict_json(content))
    except ValidationError as error:
        first = error.errors()[0]
        raise IntegrityError(f"{path}: field {'.'.join(map(str, first['loc']))!r}: {first['msg']}") from error
    except ValueError as error:
        raise IntegrityError(f"{path}: not a {PROVENANCE} ({error})") from error


def without_credentials(value: Any) -> Any:
    """Plain values, with `user:password@` and the query taken out of every address."""
    if isinstance(value, dict):
        return {key: without_credentials(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_credentials(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\w://[^\s?'\"]*)\?[^\s'\"]*", r"\1", re.sub(r"(?<=\w://)[^/@\s'\"]*@", "", value))
    return value
