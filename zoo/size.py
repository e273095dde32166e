"""`Size`: the four numbers that differ between models of one architecture; `LegalSizes`: which of them can be had."""

from math import lcm

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from zoo.errors import BadInputError


class Size(BaseModel):
    """How large a model is: `depth` blocks, `width` channels, `heads` attention heads, `mlp` hidden units.

    `heads` is 0 for families without attention; `mlp` is four times the width unless given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: PositiveInt
    width: PositiveInt
    heads: NonNegativeInt = 0
    mlp: PositiveInt = Field(default_factory=lambda given: 4 * given.get("width", 0))

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "Size":
        if self.heads and self.width % self.heads:
            legal = ", ".join(str(h) for h in range(1, self.width + 1) if self.width % h == 0)
            raise ValueError(f"heads: {self.heads} does not divide width {self.width}; legal heads: {legal}")
        return self

    @property
    def head_dim(self) -> int:
        """Channels of one attention head (0 without attention)."""
        return self.width // self.heads if self.heads else 0

    def __str__(self) -> str:
        return f"{self.depth}x{self.width}"


class Range(BaseModel):
    """Legal whole numbers: multiples of `multiple` from `min` to `max` (None: no end)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: PositiveInt = 1
    max: PositiveInt | None = None
    multiple: PositiveInt = 1

    def __contains__(self, value: int) -> bool:
        return self.min <= value <= (self.max or value) and value % self.multiple == 0

    def near(self, value: int) -> list[int]:
        """The nearest legal values: at most one below and one above."""
        first = -(-self.min // self.multiple) * self.multiple
        last = self.max // self.multiple * self.multiple if self.max else max(first, value + self.multiple)
        below = value // self.multiple * self.multiple
        return sorted({min(max(near, first), last) for near in (below, below + self.multiple)})

    def __str__(self) -> str:
        if self.min == self.max:
            return str(self.min)
        multiple = f"a multiple of {self.multiple}" if self.multiple > 1 else ""
        least = f"at least {self.min}" if self.min > self.multiple or not multiple else ""
        most = f"at most {self.max}" if self.max else ""
        return ", ".join(part for part in (multiple, least, most) if part)


class LegalSizes(BaseModel):
    """The sizes that a learngene can give, and how the numbers a user leaves out are filled in.

    Heads have `head_dim` channels (0: no attention) unless others are asked for, which `free_heads` allows; the MLP
    has `mlp_ratio` times the width. `why` says what bounds the sizes, for messages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: Range = Range()
    width: Range = Range()
    mlp: Range = Range()
    head_dim: NonNegativeInt
    mlp_ratio: float
    free_heads: bool = True
    why: str = ""

    def size(self, depth: int, width: int, heads: int | None = None, mlp: int | None = None) -> Size:
        """Complete and check a size. Raises `BadInputError` that names the nearest legal values."""
        self._check("depth", depth, self.depth)
        self._check("width", width, self.width)
        if mlp is None:
            mlp = max(1, round(width * self.mlp_ratio / self.mlp.multiple)) * self.mlp.multiple
        self._check("mlp", mlp, self.mlp)
        return Size(depth=depth, width=width, heads=self._heads(width, heads), mlp=mlp)

    def check(self, size: Size) -> None:
        """Raise `BadInputError` unless `size` is legal."""
        self.size(size.depth, size.width, size.heads, size.mlp)

    def __str__(self) -> str:
        return f"depth {self.depth}, width {self.default_width}"

    @property
    def default_width(self) -> Range:
        """The widths that can be had with heads of `head_dim` channels."""
        return self.width.model_copy(update={"multiple": lcm(self.width.multiple, self.head_dim or 1)})

    def _heads(self, width: int, heads: int | None) -> int:
        if not self.head_dim:
            if heads:
                raise BadInputError(f"heads: {heads}, but this family has no attention; leave it out")
            return 0
        if heads is None or not self.free_heads:
            other = "; --heads H with H dividing the width chooses others" if self.free_heads else ""
            self._check("width", width, self.default_width, f"heads of {self.head_dim} channels{other}")
        wanted = width // self.head_dim if heads is None else heads
        if wanted < 1 or width % wanted:
            legal = [h for h in range(1, width + 1) if width % h == 0]
            near = sorted(sorted(legal, key=lambda h: abs(h - wanted))[:4])
            raise BadInputError(f"heads: {wanted} does not divide width {width}; legal heads nearby: {_join(near)}")
        if not self.free_heads and wanted * self.head_dim != width:
            raise BadInputError(f"heads: {wanted}; legal here: {width // self.head_dim} ({self.why})")
        return wanted

    def _check(self, field: str, value: int, legal: Range, why: str = "") -> None:
        if value not in legal:
            because = "; ".join(part for part in (why, self.why) if part)
            raise BadInputError(
                f"{field}: {value} is not legal; it must be {legal}{f' ({because})' if because else ''}; "
                f"legal values nearby: {_join(legal.near(value))}"
            )


def _join(values: list[int]) -> str:
    return ", ".join(str(value) for value in values)
