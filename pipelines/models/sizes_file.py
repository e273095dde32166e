"""`--sizes FILE`: the models that are wanted, by name; sizes as they are, budgets solved for the fullest legal size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt, ValidationError, model_validator

from pipelines.recipe.stages import Strict
from pipelines.recipe.yaml_source import YamlSource
from registry.refs import parse_alias
from zoo.architecture import Architecture
from zoo.budget import parse_count
from zoo.errors import BadInputError
from zoo.families import check_size
from zoo.size import LegalSizes, Size
from zoo.solve import Budget, solve

RESERVED = ("champion", "candidate", "previous")
"""What promotions mean; a model's name may become its alias."""


class Wanted(Strict):
    """One model: a size (`depth`, `width`, and `heads` and `mlp` if need be), or a budget that it fills best.

    name: its folder below `--out`, and its alias if it is registered; left out: DEPTHxWIDTH.
    """

    name: str | None = None
    depth: PositiveInt | None = None
    width: PositiveInt | None = None
    heads: PositiveInt | None = None
    mlp: PositiveInt | None = None
    max_params: PositiveInt | str | None = None
    max_flops: PositiveInt | str | None = None

    @model_validator(mode="after")
    def _a_size_or_a_budget(self) -> "Wanted":
        if self.name is not None and parse_alias(self.name) in RESERVED:
            raise ValueError(f"name: {self.name!r} is taken; legal are others than {', '.join(RESERVED)}")
        sized = self.depth is not None and self.width is not None
        solved = self.max_params is not None or self.max_flops is not None
        some = any(value is not None for value in (self.depth, self.width, self.heads, self.mlp))
        if sized == solved or (solved and some):
            raise ValueError("give either depth and width (heads, mlp), or max_params or max_flops (or both)")
        return self

    def size(self, source: Architecture, legal: LegalSizes) -> Size:
        """The size that a learngene made at `source` gives. Raises `BadInputError`."""
        if self.depth is not None and self.width is not None:
            size = legal.size(self.depth, self.width, self.heads, self.mlp)
            check_size(source.at(size))
            return size
        limits = {"parameters": ("max_params", self.max_params), "flops": ("max_flops", self.max_flops)}
        asked = {what: parse_count(str(most), field) for what, (field, most) in limits.items() if most is not None}
        return solve(source, legal, Budget.model_validate(asked), limit=1)[0].size


class SizesFile(Strict):
    """The file: a list of what is wanted."""

    sizes: Annotated[tuple[Wanted, ...], Field(min_length=1)]


def load_sizes(path: Path, source: Architecture, legal: LegalSizes) -> dict[str, Size]:
    """The sizes in the file by their names. Raises `BadInputError` with every mistake, a line each."""
    text = YamlSource(path, "file of sizes")
    try:
        wanted = SizesFile.model_validate(text.content).sizes
    except ValidationError as error:
        raise BadInputError("\n".join(_explain(text, dict(mistake)) for mistake in error.errors())) from error
    sizes: dict[str, Size] = {}
    lines: list[str] = []
    for index, item in enumerate(wanted):
        place = text.place(("sizes", index))
        try:
            size = item.size(source, legal)
        except BadInputError as error:
            lines.append(f"{place}: sizes.{index}: {error}")
            continue
        name = item.name or str(size)
        if name in sizes:
            lines.append(f"{place}: sizes.{index}: a model {name!r} stands there twice; give one of them another name")
        sizes[name] = size
    if lines:
        raise BadInputError("\n".join(lines))
    return sizes


def _explain(text: YamlSource, mistake: Mapping[str, Any]) -> str:
    return text.explain(mistake, Wanted.model_fields if len(mistake["loc"]) > 1 else SizesFile.model_fields)
