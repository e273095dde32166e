"""`Family`: an architecture as a table of `Kind`s.

Every tensor of a family is a `Kind` with named axes, in the manner of einops:

    Kind("attn.qkv.weight", "(qkv head head_dim) <- width")

says: a matrix, `out <- in`, whose rows are q, k and v, each of all heads, each of `head_dim` channels. A library that
stores maps the other way round (GPT-2's `Conv1D`) is written `in -> out`. An axis may be a multiple: `4*width`. Axes of
one name have the same units; as many units of their own are called `4*width:hidden`, with any word behind the colon.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel
from torch import nn

from zoo.size import Range, Size

if TYPE_CHECKING:
    from zoo.architecture import Architecture

Role = Literal["layer", "part", "out", "in", "fixed"]
"""`layer`, `out` and `in` scale with the size; `part` tells apart maps that share a tensor (q, k and v)."""
Attention = Literal["query", "key", "value", "qkv", "out"]
Library = Literal["timm", "transformers", "zoo"]
Task = Literal["classification", "causal", "masked", "denoising", "none"]
Dim = tuple[tuple[str, ...], Role]

SCALING = frozenset({"width", "head", "head_dim", "mlp"})


@dataclass(frozen=True)
class Axis:
    """One axis of a stack: its name, its number of entries, its role, and the extents of the factors merged in it."""

    name: str
    extent: int
    role: Role
    factors: tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """The tensors that play one role in every layer: a name, and axes `out <- in` (or `in -> out`), `out` for vectors.

    What some methods must know beyond axes: `attention`, which map of an attention layer this is; `closes_branch`,
    whether a block adds nothing to its input when this is zero; `feeds_tied`, whether this is the last scale before
    an output that shares its weights with the input embedding (it then takes the divisions that the output cannot);
    `statistic`, a buffer that a normalisation layer measures (a variance must stay positive); `behind_sum`, whether
    this is of a norm behind a block's sum, `norm(x + f(x))`, and if so, of the last one of its layer or an inner one;
    `scales` and `shifts`, the one map (of the same prefix, with a bias) that reads a normalisation which this
    multiplies or is added to (a map that is tied to another tensor can take no scale); `normalised_by`, the batch norm
    (of the same prefix) that reads the outputs of this map, and nothing else does.
    """

    name: str
    axes: str
    attention: Attention | None = None
    closes_branch: bool = False
    feeds_tied: bool = False
    statistic: bool = False
    behind_sum: Literal["inner", "last"] | None = None
    scales: str = ""
    shifts: str = ""
    normalised_by: str = ""

    @cached_property
    def dims(self) -> tuple[Dim, ...]:
        """For each dimension of the real tensor its factors (one name, or several in parentheses) and its role."""
        if "->" in self.axes:
            inn, _, out = self.axes.partition("->")
            return (*_side(inn, "in"), *_side(out, "out"))
        out, _, inn = self.axes.partition("<-")
        return (*_side(out, "out"), *_side(inn, "in"))

    @property
    def decays(self) -> bool:
        """Whether weight decay applies: to maps, not to biases, norms, tokens and position tables."""
        return "<-" in self.axes or "->" in self.axes


@dataclass(frozen=True)
class Segment:
    """Layers that repeat: `prefix` holds `{layer}`, counted from `first` to the depth of stage `stage`.

    A prefix without `{layer}` is one layer of its own, such as the first block of a stage, which changes the channels.
    """

    prefix: str
    kinds: tuple[Kind, ...]
    stage: int = 0
    first: int = 0


@dataclass(frozen=True)
class Table:
    """All tensors of an architecture: those of repeated layers, and those that stand alone.

    `ties` names tensors that are another one (`{"lm_head.weight": "transformer.wte.weight"}`); `counters` are endings
    of buffers that hold no knowledge (`num_batches_tracked`) and start at zero.
    """

    segments: tuple[Segment, ...]
    outside: tuple[Kind, ...]
    ties: Mapping[str, str] = field(default_factory=dict)
    counters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """An architecture as data.

    config: what all sizes have in common (classes, image size, vocabulary ...).
    table: the tensors, from the config.
    constants: the extents of the axes that no size changes (`patch`, `class` ...), from the config.
    build: the real model of an architecture, with its library's own random start.
    arguments: what makes the library build that model (its `config.json` keeps them).
    flops: one forward pass of one sample (2 per multiply-add).
    library: whose checkpoint folders are read and written.
    data: fields of data specs and the config fields that must agree with them.
    longest: the config field that bounds the `length` of text samples, if any.
    head: the config fields that a new use may change; tensors whose shape depends on them start at random.
    body: what the library puts before the names of the body's tensors in a model that also has a head.
    depths: the blocks of every stage, from the config and the depth; `least_depth`: the smallest depth.
    widths: the legal widths under a config, and what bounds them, for messages.
    task: what the model is trained for under a config; `none` for a body without a head.
    attention, mlp: whether sizes have heads and a free MLP width.
    residual: whether blocks normalise before their maps (`pre`), after the sum (`post`), or are no residual blocks.
    rotates: whether blocks read and write the channels of the residual stream by maps alone, once norms are folded (or,
        before a tied output, have one scale for all channels).
    version: raised when the table or what it says about tensors changes; results under an older one are made anew.
    recognise: config and size of a foreign model (timm: the module; transformers: its config); None: another family.
    """

    name: str
    config: type[BaseModel]
    table: Callable[[Any], Table]
    constants: Callable[[Any], Mapping[str, int]]
    build: Callable[["Architecture"], nn.Module]
    arguments: Callable[["Architecture"], dict[str, Any]]
    flops: Callable[["Architecture"], int]
    library: Library
    recognise: Callable[[Any], tuple[dict[str, Any], Size] | None]
    data: Mapping[str, str]
    longest: str | None = None
    head: tuple[str, ...] = ()
    body: str = ""
    depths: Callable[[Any, int], tuple[int, ...]] = lambda _, depth: (depth,)
    least_depth: Callable[[Any], int] = lambda _: 1
    widths: Callable[[Any], tuple[Range, str]] = lambda _: (Range(), "")
    task: Callable[[Any], Task] = lambda _: "classification"
    attention: bool = True
    mlp: bool = True
    residual: Literal["pre", "post"] | None = "pre"
    rotates: bool = False
    version: int = 1


def repeat(prefix: str, *kinds: Kind, stage: int = 0, first: int = 0) -> Segment:
    """A segment, as tables write it."""
    return Segment(prefix, kinds, stage, first)


def _side(text: str, role: Role) -> tuple[Dim, ...]:
    return tuple((group, role) for group in _groups(text))


def _groups(text: str) -> list[tuple[str, ...]]:
    """Split `"a (b c) d"` into `[("a",), ("b", "c"), ("d",)]`."""
    groups: list[tuple[str, ...]] = []
    for piece in text.replace("(", " ( ").replace(")", " ) ").split("("):
        inner, closed, after = piece.rpartition(")")
        if closed:
            groups.append(tuple(inner.split()))
        groups.extend((name,) for name in after.split())
    return groups
