"""`--gate FILE`: what a promotion asks beside the gate of the recipe."""

from pathlib import Path

from pydantic import ValidationError

from pipelines.recipe.yaml_source import YamlSource, follows
from registry.gate import Gate
from zoo.errors import BadInputError


def load_gate(path: Path) -> Gate:
    """The gate in a YAML file. Raises `BadInputError` with every mistake, a line each, `NotFoundError`."""
    text = YamlSource(path, "gate")
    try:
        return Gate.model_validate(text.content)
    except ValidationError as error:
        found = [dict(mistake) for mistake in error.errors()]
        lines = (text.explain(mistake, Gate.model_fields) for mistake in found if not follows(mistake, found))
        raise BadInputError("\n".join(lines)) from error
