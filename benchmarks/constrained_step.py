"""What training for a learngene costs in every step, beside the plain step of the same model: WeiT's constraint
(weights are composed from Kronecker templates), and FRONT+'s penalty on high frequencies.

A step is the real one: forward, cross-entropy, backward, clipping and AdamW, by the `torch` engine, on random images
already in memory. Nothing is masked, so both sides compute the same model in every step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from benchmarks.measure import peak_bytes, time_pair
from benchmarks.rows import SEED, Row, at_most, main, say
from trainers.config import Execution, Training
from trainers.engines import make_engine
from trainers.objectives import Objective, Task
from trainers.parametrization import Composed, Parametrization, Plain
from trainers.refinement import Refinement, Spectrum
from trainers.world import World
from zoo import Architecture, Kronecker, Learngene, Size
from zoo.families import architecture

BATCH = 128
TARGET = 1.05
IMAGES = {"img_size": 32, "patch_size": 8, "num_classes": 10}
METHOD = Kronecker(tile=32, templates=5)


@dataclass(frozen=True)
class Case:
    """A model to train: its size and the arithmetic's precision."""

    size: Size
    precision: Literal["fp32", "bf16"]

    @property
    def arch(self) -> Architecture:
        """A ViT with few tokens: the hard case, since composing costs the same for any number of them."""
        return architecture("vit", IMAGES, self.size)

    def __str__(self) -> str:
        return f"vit-{self.size}.{self.precision}"


CASES = (
    Case(Size(depth=6, width=96, heads=3), "fp32"),
    Case(Size(depth=6, width=96, heads=3), "bf16"),
    Case(Size(depth=12, width=192, heads=3), "fp32"),
)


def measure() -> list[Row]:
    """Time and peak memory of every case."""
    return [row for case in CASES for row in (memory(case), time(case), refining(case))]


def time(case: Case) -> Row:
    """The cost of one step in steady state."""
    return compare("time", case, stepper(case, composed))


def refining(case: Case) -> Row:
    """The cost of FRONT+'s penalty in steady state."""
    return compare("refining", case, stepper(case, plain, refinement))


def compare(what: str, case: Case, ours: Callable[[], None]) -> Row:
    """A row of `ours` beside the plain step."""
    device = World.current().device
    pair = time_pair(ours, stepper(case, plain), device)
    low, high = pair.spread
    say(f"{case}: {what} x {pair.ratio:.3f} ({low:.3f} to {high:.3f} in 80 % of {pair.rounds} rounds)")
    return at_most(
        TARGET,
        name=f"constrained_step.{what}.{case}",
        ours=pair.ours * 1e3,
        baseline=pair.baseline * 1e3,
        ratio=pair.ratio,
        unit="CPU ms" if device.type == "cpu" else "ms",
    )


def memory(case: Case) -> Row:
    """The peak of parameters, gradients, optimizer state, activations and the batch together."""
    device = World.current().device
    ours, baseline = (peak_bytes(partial(train_two_steps, case, make), device) for make in (composed, plain))
    say(f"{case}: peak memory x {ours / baseline:.3f}")
    name = f"constrained_step.memory.{case}"
    return at_most(TARGET, name=name, ours=ours / 2**20, baseline=baseline / 2**20, unit="MiB")


def plain(arch: Architecture) -> Plain:
    """The baseline: the model's own weights are trained."""
    return Plain(arch, seed=SEED)


def composed(arch: Architecture) -> Parametrization:
    """WeiT: templates, scalers and free tensors are trained, weights are composed in every step."""
    return Composed(Learngene(METHOD, arch, METHOD.start(arch, SEED)))


def refinement(module: Parametrization) -> Objective:
    """FRONT+: the task and the default spectrum's penalty."""
    assert isinstance(module, Plain)
    return Refinement(Task(), module, Spectrum(), weight=1.0)


def stepper(
    case: Case,
    make: Callable[[Architecture], Parametrization],
    aim: Callable[[Parametrization], Objective] = lambda _: Task(),
) -> Callable[[], None]:
    """One optimizer step of a new model, to be called again and again."""
    world, module = World.current(), make(case.arch)
    training = Training(steps=1, batch=BATCH, precision=case.precision, seed=SEED)
    engine = make_engine(module, training, Execution(), world)
    objective = aim(module)
    draw = torch.Generator().manual_seed(SEED)
    x = torch.randn(BATCH, 3, IMAGES["img_size"], IMAGES["img_size"], generator=draw).to(world.device)
    y = torch.randint(IMAGES["num_classes"], (BATCH,), generator=draw).to(world.device)

    def step() -> None:
        engine.module.begin(0, SEED)
        engine.module.train()
        engine.accumulate(x, y, objective, part=0, weight=1.0)
        engine.step(training.lr)

    return step


def train_two_steps(case: Case, make: Callable[[Architecture], Parametrization]) -> None:
    """From nothing to the second step: the first one that begins with all of the optimizer's state."""
    step = stepper(case, make)
    step()
    step()


if __name__ == "__main__":
    main(measure, __doc__)
