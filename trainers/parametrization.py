"""What is trained: a plain model, or a learngene seen through its method's `expand`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trainers.seeds import generator
from zoo import Architecture, Learngene, Size
from zoo.family import Weights
from zoo.methods.base import Trained


class Parametrization(nn.Module, ABC):
    """A trainable module that computes the model's outputs at `arch`."""

    arch: Architecture
    functional: bool
    """Whether weights are computed from the parameters in every step (then nothing may shard parameters by module)."""

    def begin(self, step: int, seed: int) -> None:
        """Choose what optimizer step `step` trains; the same on every worker."""

    @abstractmethod
    def decays(self, name: str) -> bool:
        """Whether weight decay applies to this parameter."""

    def groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Parameter groups for an optimizer: with and without weight decay."""
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        decayed = [p for name, p in named if self.decays(name)]
        others = [p for name, p in named if not self.decays(name)]
        groups = ({"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0})
        return [group for group in groups if group["params"]]


class Plain(Parametrization):
    """A model's own weights."""

    functional = False

    def __init__(self, arch: Architecture, weights: Weights | None = None, seed: int = 0) -> None:
        """Start from `weights`, or from the library's own random start under `seed`."""
        super().__init__()
        self.arch = arch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = arch.build("cpu" if weights is None else "meta")
        if weights is not None:
            owned = {name: tensor.detach().clone() for name, tensor in weights.items()}
            self.model.load_state_dict(owned, assign=True)
            self.model.requires_grad_()
        self._decays = {name for key, kind in arch.kinds.items() if kind.decays for name in arch.names(key)}

    def forward(self, x: Tensor) -> Tensor:
        """The model's output."""
        return self.model(x)

    def decays(self, name: str) -> bool:
        """Maps decay; biases, norms, tokens and position tables do not."""
        return name.removeprefix("model.") in self._decays


class Composed(Parametrization):
    """A learngene whose tensors are trained through `expand`.

    With probability `masked` a step trains a sub-model: the first tiles of the width and fewer layers, expanded as
    `zoo instantiate` would expand them. With `freeze_shared` only what is particular to this size is trained.
    """

    functional = True

    def __init__(self, learngene: Learngene, *, masked: float = 0.0, freeze_shared: bool = False) -> None:
        """Train copies of the learngene's tensors."""
        super().__init__()
        assert isinstance(learngene.method, Trained)
        self.start, self.method, self.arch, self.masked = learngene, learngene.method, learngene.source, masked
        self.target = self.arch
        self._skeletons: dict[Size, nn.Module] = {}
        self.tensors = nn.ParameterDict()
        self._names = {name.replace(".", "|"): name for name in learngene.tensors}  # ParameterDict refuses dots
        for safe, name in self._names.items():
            trainable = not (freeze_shared and self.method.shared(name))
            self.tensors[safe] = nn.Parameter(learngene.tensors[name].detach().clone(), requires_grad=trainable)

    def begin(self, step: int, seed: int) -> None:
        """Draw the size that this step trains."""
        draw = generator(seed, "mask", step)
        if torch.rand((), generator=draw).item() >= self.masked:
            self.target = self.arch
            return
        sizes = list(self._sub_sizes())
        self.target = self.arch.at(sizes[int(torch.randint(len(sizes), (), generator=draw))])

    def forward(self, x: Tensor) -> Tensor:
        """The output of the expanded model at the size that `begin` chose (in eval mode: at the full size)."""
        target = self.target if self.training else self.arch
        stacks = self.method.expand(self._tensors(), self.arch, target)
        if target.size not in self._skeletons:
            self._skeletons[target.size] = target.build("meta")
        return functional_call(self._skeletons[target.size], target.unstack(stacks), x)

    def decays(self, name: str) -> bool:
        """Templates, scalers and free maps decay; other free tensors do not."""
        _, _, key = self._names[name.removeprefix("tensors.")].partition("/")
        return self.arch.kinds[key].decays

    def learngene(self, parents: tuple[str, ...] = ()) -> Learngene:
        """The trained tensors as a learngene."""
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in self._tensors().items()}
        return replace(self.start, tensors=tensors, parents=parents)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: self.tensors[safe] for safe, name in self._names.items()}

    def _sub_sizes(self) -> Iterator[Size]:
        legal, full = self.method.legal(self.arch), self.arch.size
        step = legal.default_multiple
        for depth in range(1, full.depth + 1):
            for width in range(step, full.width + 1, step):
                yield legal.size(depth, width)
