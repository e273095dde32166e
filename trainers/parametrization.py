"""What is trained: a plain model, or a learngene seen through its method's `expand`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.stateless import _reparametrize_module

from trainers.inputs import Inputs, call
from trainers.recompute import check_recompute, recompute_
from trainers.seeds import generator
from trainers.world import World
from zoo import Architecture, Learngene, Size
from zoo.architecture import Weights
from zoo.errors import BadInputError
from zoo.family import Kind
from zoo.methods.base import Fitted
from zoo.methods.mupscaling import Multipliers


class Parametrization(nn.Module, ABC):
    """A trainable module that computes the model's outputs at `arch`, from `Inputs`."""

    arch: Architecture
    target: Architecture
    """What the coming step trains: `arch`, or a part of it."""
    functional: bool
    """Whether weights are computed from the parameters in every step (then nothing may shard parameters by module)."""
    multipliers: Mapping[str, Multipliers] = {}
    """Of a widened model: how parameters were scaled, by name; its optimizer is then scaled along."""

    def begin(self, step: int, seed: int) -> None:
        """Choose what optimizer step `step` trains; the same on every worker."""

    @abstractmethod
    def recompute_(self) -> None:
        """Compute activations again in the backward pass (see `trainers.recompute`). Raises `BadInputError`."""

    def computing(self) -> AbstractContextManager[object]:
        """Around a forward pass and its backward pass."""
        return nullcontext()

    @abstractmethod
    def decays(self, name: str) -> bool:
        """Whether weight decay applies to this parameter."""

    def share_statistics(self, world: World) -> None:
        """Let all workers go on with the first one's running statistics (every worker sees batches of its own)."""
        for buffer in self.buffers():
            if buffer.is_floating_point():
                world.broadcast(buffer)

    def groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Parameter groups for an optimizer: with and without weight decay; a widened model's keep the names."""
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        decayed = [pair if self.multipliers else pair[1] for pair in named if self.decays(pair[0])]
        others = [pair if self.multipliers else pair[1] for pair in named if not self.decays(pair[0])]
        groups = ({"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0})
        return [group for group in groups if group["params"]]


class Plain(Parametrization):
    """A model's own weights."""

    functional = False

    def __init__(self, arch: Architecture, weights: Weights | None = None, seed: int = 0) -> None:
        """Start from `weights`, or from the library's own random start under `seed`."""
        super().__init__()
        self.arch = self.target = arch
        if weights is not None:
            self.model = arch.assemble({name: tensor.detach().clone() for name, tensor in weights.items()})
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.model = arch.build()
        self._decays = {name for key, kind in arch.kinds.items() if kind.decays for name in arch.names(key)}

    def forward(self, x: Inputs) -> Tensor:
        """The model's output."""
        return call(self.model, x)

    def recompute_(self) -> None:
        """Layer by layer."""
        recompute_(self.model, self.arch)

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
        assert isinstance(learngene.method, Fitted)
        self.start, self.method, self.arch, self.masked = learngene, learngene.method, learngene.source, masked
        self.target = self.arch
        self._skeletons: dict[Size, nn.Module] = {}
        self._recomputes = False
        self._composed = ExitStack()
        self.tensors = nn.Module()
        self._names = {name.replace(".", "|"): name for name in learngene.tensors}  # modules refuse dots
        for safe, name in self._names.items():
            tensor = learngene.tensors[name].detach().clone()
            kind = self._kind(name)
            if kind and kind.statistic:
                self.tensors.register_buffer(safe, tensor)  # batches update it in place, gradients never
                continue
            trainable = not (freeze_shared and self.method.shared(name))
            self.tensors.register_parameter(safe, nn.Parameter(tensor, requires_grad=trainable))

    def begin(self, step: int, seed: int) -> None:
        """Draw the size that this step trains."""
        draw = generator(seed, "mask", step)
        if torch.rand((), generator=draw).item() >= self.masked:
            self.target = self.arch
            return
        sizes = list(self._sub_sizes())
        self.target = self.arch.at(sizes[int(torch.randint(len(sizes), (), generator=draw))])

    def forward(self, x: Inputs) -> Tensor:
        """The output of the expanded model at the size that `begin` chose (in eval mode: at the full size)."""
        target = self.target if self.training else self.arch
        stacks = self.method.expand(self._tensors(), self.arch, target)
        skeleton = self._skeleton(target).train(self.training)  # it is no submodule: dropout must be told
        if target.size != self.arch.size:  # a sub-model must not write its statistics into those of the whole
            stacks = {key: x.clone() if target.kinds[key].statistic else x for key, x in stacks.items()}
        weights = target.unstack(stacks)
        if self._recomputes and self.training:  # the backward pass runs layers again: they need their weights till then
            self._composed.enter_context(_reparametrize_module(skeleton, dict(weights), tie_weights=True))
            return call(skeleton, x)
        return call(lambda *args, **kwargs: functional_call(skeleton, weights, args, kwargs), x)

    def recompute_(self) -> None:
        """Layer by layer of the composed model; the composed weights themselves are kept."""
        check_recompute(self.arch.family.name)
        self._recomputes = True

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Composed weights stay in the model until the backward pass is over, where that computes layers again."""
        with self._composed:
            yield

    def decays(self, name: str) -> bool:
        """Templates, scalers and free maps decay (and what belongs to no kind); other free tensors do not."""
        kind = self._kind(self._names[name.removeprefix("tensors.")])
        return kind is None or kind.decays

    def learngene(self, parents: tuple[str, ...] = ()) -> Learngene:
        """The trained tensors as a learngene."""
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in self._tensors().items()}
        return replace(self.start, tensors=tensors, parents=parents)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self.tensors, safe) for safe, name in self._names.items()}

    def _skeleton(self, target: Architecture) -> nn.Module:
        if target.size not in self._skeletons:
            skeleton = _buffers_to(next(self.parameters()).device, target.skeleton())
            if self._recomputes:
                recompute_(skeleton, target)
            self._skeletons[target.size] = skeleton
        return self._skeletons[target.size]

    def _kind(self, name: str) -> Kind | None:
        return self.arch.kinds.get(name.partition("/")[2])

    def _sub_sizes(self) -> Iterator[Size]:
        legal, full = self.method.legal(self.arch), self.arch.size
        step = legal.default_width.multiple
        for depth in range(legal.depth.min, full.depth + 1):
            for width in range(step, full.width + 1, step):
                if width in legal.width:
                    yield legal.size(depth, width)


def _buffers_to(device: torch.device, skeleton: nn.Module) -> nn.Module:
    """A skeleton whose buffers (numbers of positions, counters) are where its weights will be."""
    for part in skeleton.modules():
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, buffer.to(device))
    return skeleton


def fitted(learngene: Learngene, size: Size) -> Composed:
    """A learngene at `size`, to be fitted to it: what all sizes share is frozen. Raises `BadInputError`."""
    method = learngene.method
    if not isinstance(method, Fitted):
        raise BadInputError(f"a learngene of method {method.name!r} has nothing that can be fitted to a size")
    method.legal(learngene.source).check(size)
    target = learngene.source.at(size)
    tensors = method.resize(learngene.tensors, learngene.source, target)
    module = Composed(replace(learngene, source=target, tensors=tensors), freeze_shared=True)
    if not any(p.requires_grad for p in module.parameters()):
        raise BadInputError(f"size: at {size} a learngene of method {method.name!r} has nothing to fit")
    return module
