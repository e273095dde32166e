"""A narrow model and its widened copy, trained side by side: how far apart do the outputs of their layers get?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from trainers.inputs import Inputs, call
from trainers.scaled import Tile, scale_optimizer_, scaled_clip_, widened_states
from zoo import Architecture, Size
from zoo.families import architecture
from zoo.methods.mupscaling import Multipliers, MuPScaling, named_multipliers, tiled

Make = Callable[..., Optimizer]
"""An optimizer with the narrow model's settings, over named parameters."""
Batch = tuple[Inputs, Tensor]

WARM = 5
"""Steps of the narrow model alone: it is widened with an optimizer that has a past."""
EVERY = 10
"""Joint steps from one look at the layers to the next: models that have parted do not meet again."""
IMAGES = {"in_chans": 2, "num_classes": 3}
TEXT = {"vocab_size": 7, "max_length": 5, "dropout": 0.0}
PICO = Size(depth=2, width=8, heads=2, mlp=12)
PAIRS: dict[str, tuple[dict[str, Any], Size, Size]] = {
    "vit": ({**IMAGES, "img_size": 4, "patch_size": 2}, PICO, Size(depth=2, width=16, heads=4, mlp=36)),
    "resnet": ({**IMAGES, "img_size": 8}, Size(depth=8, width=4), Size(depth=8, width=8)),
    "bert": (TEXT, PICO, Size(depth=2, width=24, heads=6, mlp=24)),
    "gpt2": (TEXT, PICO, Size(depth=2, width=16, heads=4, mlp=36)),
    "mlp": ({**IMAGES, "img_size": 4}, Size(depth=2, width=6), Size(depth=2, width=18)),
    "convnext": ({**IMAGES, "img_size": 8, "patch_size": 1}, Size(depth=4, width=4), Size(depth=4, width=8)),
    "roberta": ({**TEXT, "pad_token_id": 1}, PICO, Size(depth=2, width=16, heads=4, mlp=36)),
    "dit": ({**IMAGES, "img_size": 4, "patch_size": 2}, PICO, Size(depth=2, width=16, heads=4, mlp=36)),
}
"""By family: config, narrow and wide size. Width and MLP width grow unequally where they can."""
WIDTHS, TIMES = (4, 6, 5, 3), (1, 2, 3, 1)
"""Layers of the plain MLP, and how often the units of each are repeated."""


@dataclass(frozen=True)
class Pair:
    """How a narrow model becomes a wide one, whatever it is."""

    narrow: Callable[[], nn.Module]
    widened: Callable[[nn.Module], nn.Module]
    multipliers: dict[str, Multipliers]
    tile: Tile
    batch: Callable[[int, torch.dtype], Batch]
    parts: Callable[[str], int] = lambda _: 1
    """How many maps share the output of a layer."""


def of_family(name: str) -> Pair:
    config, size, wide_size = PAIRS[name]
    narrow = architecture(name, config, size)
    wide = narrow.at(wide_size)

    def widened(model: nn.Module) -> nn.Module:
        stacks = MuPScaling().expand(narrow.stack(narrow.own(model.state_dict())), narrow, wide)
        return wide.assemble(wide.unstack(stacks))

    kinds = {name: narrow.axes(key) for key in narrow.kinds for name in narrow.names(key)}

    def parts(layer: str) -> int:
        return next((axis.extent for axis in kinds.get(f"{layer}.weight", ()) if axis.role == "part"), 1)

    return Pair(
        narrow.build,
        widened,
        named_multipliers(narrow, wide),
        partial(tiled, source=narrow, target=wide),
        partial(_batch, narrow),
        parts,
    )


def plain_mlp() -> Pair:
    """A torch model of no family, with multipliers that differ from layer to layer."""

    def build(times: tuple[int, ...]) -> nn.Sequential:
        widths = [width * k for width, k in zip(WIDTHS, times, strict=True)]
        maps = [nn.Linear(a, b) for a, b in pairwise(widths)]
        return nn.Sequential(*(layer for linear in maps for layer in (linear, nn.Tanh())))[:-1]

    repeats = {f"{2 * i}.weight": (TIMES[i + 1], TIMES[i]) for i in range(len(WIDTHS) - 1)}
    repeats |= {f"{2 * i}.bias": (TIMES[i + 1],) for i in range(len(WIDTHS) - 1)}
    multipliers = {
        name: Multipliers(s=k_in[0] if k_in else 1, g=1 / k_out, copies=k_out * (k_in[0] if k_in else 1))
        for name, (k_out, *k_in) in repeats.items()
    }

    def widened(model: nn.Module) -> nn.Module:
        wide = build(TIMES).to(next(model.parameters()).dtype)
        wide.load_state_dict({n: w.repeat(repeats[n]) / multipliers[n].s for n, w in model.state_dict().items()})
        return wide

    def batch(step: int, dtype: torch.dtype) -> Batch:
        random = torch.Generator().manual_seed(step)
        x = torch.randn(16, WIDTHS[0], generator=random, dtype=torch.float64)
        return x.to(dtype), torch.randint(WIDTHS[-1], (16,), generator=random)

    return Pair(
        lambda: build((1,) * len(WIDTHS)),
        widened,
        multipliers,
        lambda tensors: {n: x.repeat(repeats[n]) for n, x in tensors.items()},
        batch,
    )


@dataclass
class Joint:
    """A pair at work. The wide model takes over after `WARM` steps of the narrow one."""

    pair: Pair
    make: Make
    clip: float | None = None
    dtype: torch.dtype = torch.float64
    scaled: bool = True
    """False: the wide model has the narrow one's settings (its weights and states are scaled all the same)."""

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.narrow = _shaken(self.pair.narrow().to(self.dtype)).train()
        self.narrow_optimizer = self.make(self.narrow.named_parameters())
        for step in range(WARM):
            self._step(self.narrow, self.narrow_optimizer, step, scaled=False)
        self.wide = self.pair.widened(self.narrow).to(self.dtype).train()
        self.wide_optimizer = self.make(self.wide.named_parameters())
        if self.scaled:
            scale_optimizer_(self.wide_optimizer, self.pair.multipliers)
        states = {name: self.narrow_optimizer.state[p] for name, p in self.narrow.named_parameters()}
        widened = widened_states(states, self.pair.multipliers, self.pair.tile)
        self.wide_optimizer.state.update({p: widened[name] for name, p in self.wide.named_parameters()})

    def gap(self, steps: int) -> float:
        """Train both; the largest difference in any layer's output (relative to its largest number if above 1)."""
        gaps: list[Tensor] = []
        for step in range(WARM, WARM + steps):
            look = (step - WARM) % EVERY == EVERY - 1
            with _outputs(self.narrow, look) as narrow, _outputs(self.wide, look) as wide:
                self._step(self.narrow, self.narrow_optimizer, step, scaled=False)
                self._step(self.wide, self.wide_optimizer, step, scaled=self.scaled)
            assert narrow.keys() == wide.keys()
            gaps += [self._difference(layer, narrow[layer], wide[layer]) for layer in narrow]
        return torch.stack(gaps).max().item()  # NaN if there is one

    def _step(self, model: nn.Module, optimizer: Optimizer, step: int, *, scaled: bool) -> None:
        x, y = self.pair.batch(step, self.dtype)
        output = call(model, x)
        loss = mse_loss(output, y) if y.is_floating_point() else cross_entropy(output.flatten(0, -2), y.flatten())
        loss.backward()
        if self.clip is not None:
            if scaled:
                scaled_clip_(model.named_parameters(), self.pair.multipliers, self.clip)
            else:
                clip_grad_norm_(model.parameters(), self.clip)
        optimizer.step()
        optimizer.zero_grad()

    def _difference(self, layer: str, narrow: Tensor, wide: Tensor) -> Tensor:
        difference = (wide - self._expected(layer, narrow, wide.shape)).abs().max()
        return difference / narrow.abs().max().clamp(min=1)

    def _expected(self, layer: str, narrow: Tensor, shape: torch.Size) -> Tensor:
        """The narrow output, repeated; the last scale before a tied output holds the division by the copies."""
        repeats = [a // b for a, b in zip(shape, narrow.shape, strict=True)]
        if (parts := self.pair.parts(layer)) > 1:
            return narrow.unflatten(-1, (parts, -1)).repeat(*repeats[:-1], 1, repeats[-1]).flatten(-2)
        bias = self.pair.multipliers.get(f"{layer}.bias")
        return narrow.repeat(repeats) / (bias.s if bias else 1)


@torch.no_grad()
def _shaken(model: nn.Module) -> nn.Module:
    """No number at 0 or 1 as after the library's start, and no tiny inputs of norms, which magnify rounding errors."""
    for p in model.parameters():
        p.add_(torch.randn_like(p) / (8 * p[0].numel() ** 0.5))
    return model


@contextmanager
def _outputs(model: nn.Module, look: bool) -> Iterator[dict[str, Tensor]]:
    """What every layer (a module without submodules) computes inside; nothing unless `look`."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: outputs.__setitem__(name, output.detach())

    layers = ((name, module) for name, module in model.named_modules() if look and not list(module.children()))
    handles = [module.register_forward_hook(keep(name)) for name, module in layers]
    yield outputs
    for handle in handles:
        handle.remove()


def _batch(arch: Architecture, step: int, dtype: torch.dtype) -> Batch:
    """A batch of 16: images whose brightness tells the class, or texts in which a token tells the next one."""
    config, random = arch.config.model_dump(), torch.Generator().manual_seed(step)
    if "vocab_size" in config:
        ids = torch.randint(config["vocab_size"], (16, config["max_length"]), generator=random)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, (ids + 1) % config["vocab_size"]
    x = torch.randn(16, config["in_chans"], config["img_size"], config["img_size"], generator=random)
    y = torch.randint(config["num_classes"], (16,), generator=random)
    x = (x + 2 * y.view(-1, 1, 1, 1)).to(dtype)
    if arch.family.task(arch.config) == "denoising":
        return {"x": x, "t": torch.arange(16), "y": y}, x.flip(-1)
    return x, y
