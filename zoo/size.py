"""`Size`: the four numbers that differ between models of one architecture; `LegalSizes`: which of them can be had."""

from math import lcm

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from zoo.errors import BadInputError


class Size(BaseModel):
    """How large a model is: `depth` blocks, `width` channels, `heads` attention heads, `mlp` hidden units.

    `mlp` is four times the width unless given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    mlp: PositiveInt = Field(default_factory=lambda given: 4 * given.get("width", 0))

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "Size":
        if self.width % self.heads:
            legal = ", ".join(str(h) for h in range(1, self.width + 1) if self.width % h == 0)
            raise ValueError(f"heads: {self.heads} does not divide width {self.width}; legal heads: {legal}")
        return self

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    def __str__(self) -> str:
        return f"{self.depth}x{self.width}"


class LegalSizes(BaseModel):
    """The sizes that a learngene can give, and how the numbers a user leaves out are filled in.

    `width` and `mlp` must be multiples of `width_multiple` and `mlp_multiple`; heads have `head_dim` channels
    and the MLP has `mlp_ratio` times the width unless said otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width_multiple: PositiveInt = 1
    mlp_multiple: PositiveInt = 1
    head_dim: PositiveInt
    mlp_ratio: float

    def size(self, depth: int, width: int, heads: int | None = None, mlp: int | None = None) -> Size:
        """Complete and check a size. Raises `BadInputError` that names the nearest legal values."""
        if depth < 1:
            raise BadInputError(f"depth: {depth} is not legal; it must be at least 1")
        self._check("width", width, self.width_multiple)
        if heads is None:
            why = f" (heads of {self.head_dim} channels; --heads H with H dividing {width} chooses others)"
            self._check("width", width, self.default_multiple, why)
            heads = width // self.head_dim
        if heads < 1 or width % heads:
            legal = [h for h in range(1, width + 1) if width % h == 0]
            near = sorted(sorted(legal, key=lambda h: abs(h - heads))[:4])
            raise BadInputError(f"heads: {heads} does not divide width {width}; legal heads nearby: {_join(near)}")
        if mlp is None:
            mlp = max(1, round(width * self.mlp_ratio / self.mlp_multiple)) * self.mlp_multiple
        self._check("mlp", mlp, self.mlp_multiple)
        return Size(depth=depth, width=width, heads=heads, mlp=mlp)

    def check(self, size: Size) -> None:
        """Raise `BadInputError` unless `size` is legal."""
        self.size(size.depth, size.width, size.heads, size.mlp)

    def __str__(self) -> str:
        return f"any depth, width a multiple of {self.default_multiple}"

    @property
    def default_multiple(self) -> int:
        """What divides every width that can be had with heads of `head_dim` channels."""
        return lcm(self.width_multiple, self.head_dim)

    def _check(self, field: str, value: int, multiple: int, why: str = "") -> None:
        if value < 1 or value % multiple:
            below = max(0, value // multiple * multiple)
            near = [v for v in (below, below + multiple) if v]
            raise BadInputError(
                f"{field}: {value} is not a multiple of {multiple}{why}; legal values nearby: {_join(near)}"
            )


def _join(values: list[int]) -> str:
    return ", ".join(str(value) for value in values)
