"""YAML as plain values, and the line on which each value stands."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipelines.recipe.stages import Loc
from zoo.errors import BadInputError, NotFoundError


class YamlSource:
    """A YAML file (`content`, plain values), with overrides applied, that knows where its values stand."""

    def __init__(self, path: Path, what: str = "recipe") -> None:
        """Read `path`, a mapping."""
        if not path.is_file():
            raise NotFoundError(f"{path}: no such {what}")
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
            self._root = yaml.compose(self.text, Loader=yaml.SafeLoader)
            self.content: Any = self._plain(self._root)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            raise BadInputError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
        if not isinstance(self.content, dict):
            raise BadInputError(f"{path}:1: a {what} is a mapping of fields, this is a {type(self.content).__name__}")
        self._set: dict[Loc, str] = {}

    def override(self, option: str, texts: tuple[str, ...]) -> None:
        """Set fields by `a.b.c=value`, the value in YAML. Raises `BadInputError` naming the `option`."""
        for text in texts:
            self._override(option, text)

    def put(self, loc: tuple[str, ...], value: Any, place: str) -> None:
        """Set the field at `loc`, for which messages will blame `place`."""
        *parents, last = loc
        at = self.content
        for part in parents:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                return  # the file is wrong there, and is refused for that
        at[last] = value
        self._set[loc] = place

    def place(self, loc: Loc) -> str:
        """Where the value at `loc` (or its nearest parent) stands: `file:line`, or the option that set it."""
        for path, option in reversed(self._set.items()):
            if loc[: len(path)] == path:
                return option
        node, line = self._root, 1
        for part in loc:  # a part that the file does not have (a missing field) is skipped
            for key, value in getattr(node, "value", []) if isinstance(node, yaml.MappingNode) else []:
                if key.value == part:
                    node, line = value, key.start_mark.line + 1
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return f"{self.path}:{line}"

    def explain(self, mistake: Mapping[str, Any], fields: Iterable[str]) -> str:
        """A line about a mistake that pydantic found; `fields` are legal where an unknown one stands."""
        loc, said = mistake["loc"], str(mistake["msg"]).removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            said = f"unknown field; legal fields: {', '.join(fields)}"
        elif not isinstance(mistake["input"], dict | list):
            said += f" (got {mistake['input']!r})"
        return ": ".join([self.place(loc), *([".".join(map(str, loc))] if loc else []), said])

    def _plain(self, node: yaml.Node | None) -> Any:
        """The value of a node. What an alias repeats is a copy, so that `--set` changes one place only."""
        if isinstance(node, yaml.MappingNode):
            content: dict[Any, Any] = {}
            for key, value in node.value:
                name = self._plain(key)
                if name in content:
                    line = key.start_mark.line + 1
                    raise BadInputError(f"{self.path}:{line}: {name}: the field stands here a second time")
                content[name] = self._plain(value)
            return content
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item) for item in node.value]
        return yaml.SafeLoader("").construct_object(node, deep=True) if node else None

    def _override(self, option: str, text: str) -> None:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInputError(f"{option} {text!r}: write field=value, for example --set data.path=shards")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadInputError(f"{option} {text!r}: the value is not valid YAML") from error
        *parents, last = path = tuple(name.split("."))
        at = self.content
        for part in parents:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise BadInputError(f"{option} {text!r}: {part!r} holds a single value, it has no field {last!r}")
        at[last] = parsed
        self._set[path] = option


def follows(mistake: dict[str, Any], found: list[dict[str, Any]]) -> bool:
    """Whether pydantic only misses what it could not read: a list is too short because its entries are wrong."""
    loc = mistake["loc"]
    return mistake["type"] == "too_short" and any(other["loc"][: len(loc)] == loc != other["loc"] for other in found)
