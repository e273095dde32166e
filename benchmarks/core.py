"""What the core costs beside what libraries do anyway: DeiT-Ti/S/B and BERT-base, every method, on the CPU.

- `expand`: from a learngene in memory to a state dict, beside the library's own random start of the same size. The
  source is the first of the target's sources that the method serves. `random` and `mimetic` make that random start
  themselves, so their baseline is what they cannot do without: the start and one copy, the start and eigenvectors
  of as many random maps.
- `memory`: the most that `expand` allocates at once, its result included, beside the target's weights.
- `condense`: DeiT-B to a learngene, beside reading its checkpoint and copying it once.
- `load`: `zoo.load` of a learngene's folder, hash and all, beside the library's model at random; `load.hashed`: where
  the learngene is larger than the target, beside that and the hash.

Learngenes are random numbers of the right shapes: no work here depends on the values.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import zoo
from benchmarks.measure import Work, peak_bytes, time_in_turns
from benchmarks.rows import SEED, Row, at_most, main, say
from zoo import Architecture, Checkpoint, Learngene, Size
from zoo.architecture import Weights
from zoo.errors import BadInputError
from zoo.families import architecture
from zoo.files import digest_file
from zoo.manifest import TENSORS
from zoo.methods import CLOSED_FORMS, METHODS
from zoo.methods.base import ClosedForm, Method, Trained

CPU = torch.device("cpu")
HALF = ("kronecker", "mupscaling")
"""Methods that must take at most half of a random start."""
CONDENSING = ("front", "bot")
NEAR = 1.25
"""How near to its floor a method must come that cannot be faster than a random start."""
EIGENVECTORS = 768
"""From this width on `mimetic` is left out: 144 eigendecompositions of the width take many seconds each time."""
LOADED = ("kronecker", "front", "mupscaling", "selection")


def size(depth: int, width: int) -> Size:
    """Heads of 64 channels."""
    return Size(depth=depth, width=width, heads=max(1, width // 64))


@dataclass(frozen=True)
class Target:
    """A size to reach, and the sizes of learngenes to reach it from, the natural one first."""

    family: str
    config: dict[str, Any]
    size: Size
    sources: tuple[Size, ...]

    @property
    def arch(self) -> Architecture:
        """The model at the target size."""
        return architecture(self.family, self.config, self.size)

    def source(self, method: Method) -> Architecture | None:
        """The first source from which `method` reaches the target."""
        for start in self.sources:
            arch = self.arch.at(start)
            try:
                method.legal(arch).check(self.size)
                return arch
            except BadInputError:
                continue
        return None

    def __str__(self) -> str:
        return f"{self.family}-{self.size}"


TI, S, B = (size(12, width) for width in (192, 384, 768))
BERT = Target("bert", {"task": "none"}, B, (size(6, 384), size(12, 384), size(6, 768), size(12, 1024)))
BASE = Target("vit", {}, B, (S, size(6, 768), size(12, 1024)))
TARGETS = (
    Target("vit", {}, TI, (S, size(6, 192), size(12, 64))),
    Target("vit", {}, S, (B, TI, size(6, 384))),
    BASE,
    BERT,
)


@torch.no_grad()
def measure() -> list[Row]:
    """All rows. BERT's are left out where transformers is not installed."""
    targets = [target for target in TARGETS if target.family != "bert" or find_spec("transformers")]
    if len(targets) < len(TARGETS):
        say("transformers is not installed: no rows of BERT")
    found = [row for target in targets for row in (*expand(target), *load(target))]
    return [*found, *condense(BASE.arch), *memory(BASE)]


def expand(target: Target) -> Iterator[Row]:
    """A row a method that reaches the target."""
    genes = dict(learngenes(target))
    works: dict[str, Work] = {name: partial(gene.expand, target.size) for name, gene in genes.items()}
    own = {name: works.pop(name) for name in ("random", "mimetic")}
    yield from rows("expand", target, works, target.arch.build)
    yield from rows("expand", target, {"random": own["random"]}, partial(start_and_copy, target.arch), NEAR)
    if target.size.width < EIGENVECTORS:
        floor = partial(start_and_eigenvectors, target.arch)
        yield from rows("expand", target, {"mimetic": own["mimetic"]}, floor, NEAR)


def load(target: Target) -> Iterator[Row]:
    """A row for some methods; `hashed` are learngenes larger than the target, whose hash belongs to the baseline."""
    with tempfile.TemporaryDirectory() as folder:
        works: dict[str, Work] = {}
        for name, gene in learngenes(target, LOADED):
            place = Path(folder) / name
            gene.save(place)
            works[name] = partial(zoo.load, str(place), **target.size.model_dump())
            if gene.manifest.parameters > target.arch.parameters():
                floor = partial(start_and_hash, target.arch, place / TENSORS)
                yield from rows("load.hashed", target, {name: works.pop(name)}, floor)
        yield from rows("load", target, works, target.arch.build)


def condense(arch: Architecture) -> Iterator[Row]:
    """FRONT and BoT."""
    checkpoint = Checkpoint(arch, numbers(arch))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(checkpoint.weights, path)
        works: dict[str, Work] = {
            name: partial(zoo.condense, checkpoint, kind.model_validate({}))
            for name, kind in CLOSED_FORMS.items()
            if name in CONDENSING
        }
        yield from rows("condense", f"{arch.family.name}-{arch.size}", works, partial(read_and_copy, path), 1.5)


def memory(target: Target) -> Iterator[Row]:
    """To DeiT-B from a smaller learngene, and from one of its own size."""
    weights = 4 * sum(prod(shape) for shape in target.arch.shapes().values())
    alike = replace(target, sources=(target.size,))
    for kind, genes in (("", learngenes(target)), (".same", learngenes(alike))):
        for name, gene in genes:
            if name == "mimetic":
                continue  # what it allocates beside `random` is one head's map; its time is minutes
            peak = peak_bytes(partial(gene.expand, target.size), CPU)
            label = f"core.memory.{target}{kind}.{name}"
            yield at_most(2.0, name=label, ours=peak / 2**20, baseline=weights / 2**20, unit="MiB")


def rows(
    what: str, target: object, works: Mapping[str, Work], baseline: Work, limit: float | None = None
) -> Iterator[Row]:
    """The rows of several works timed in turns with one baseline."""
    for name, pair in time_in_turns(works, baseline, CPU).items():
        low, high = pair.spread
        say(f"{what} {target} {name}: x {pair.ratio:.2f} ({low:.2f} to {high:.2f} in {pair.rounds} rounds)")
        yield at_most(
            limit or (0.5 if what == "expand" and name in HALF else 1.0),
            name=f"core.{what}.{target}.{name}",
            ours=pair.ours * 1e3,
            baseline=pair.baseline * 1e3,
            ratio=pair.ratio,
            unit="CPU ms",
        )


def learngenes(target: Target, names: Collection[str] = METHODS) -> Iterator[tuple[str, Learngene]]:
    """One for every method that reaches the target."""
    for name in names:
        method = METHODS[name].model_validate({})
        source = target.source(method)
        if source is None:
            say(f"{target}: out of reach of {name}")
        elif isinstance(method, ClosedForm):
            yield name, zoo.condense(Checkpoint(source, numbers(source)), method)
        else:
            assert isinstance(method, Trained)
            yield name, Learngene(method, source, method.start(source, SEED))


def numbers(arch: Architecture) -> Weights:
    """Random weights of the spread of a transformer's."""
    draw = torch.Generator().manual_seed(SEED)
    return {name: 0.02 * torch.randn(shape, generator=draw) for name, shape in arch.shapes().items()}


def start_and_copy(arch: Architecture) -> list[Tensor]:
    """What `random` cannot do without: its stacks are a copy."""
    return [tensor.clone() for tensor in arch.build().state_dict().values()]


def start_and_eigenvectors(arch: Architecture) -> None:
    """What `mimetic` cannot do without: eigenvectors of one map for every head, and one for every output map."""
    arch.build()
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(arch.size.depth):
        for maps in (arch.size.heads, 1):
            square = torch.randn(maps, arch.size.width, arch.size.width, generator=generator)
            torch.linalg.eigh(square @ square.mT)


def start_and_hash(arch: Architecture, path: Path) -> None:
    """A random start, and the verification that no load goes without: it takes longer than a small model's start."""
    arch.build()
    digest_file(path)


def read_and_copy(path: Path) -> list[Tensor]:
    """A checkpoint's tensors, copied out of the file's pages."""
    return [tensor.clone() for tensor in load_file(path).values()]


if __name__ == "__main__":
    main(measure, __doc__)
