"""What people see of a learngene: its fields, where it comes from, its evidence, its lineage as a tree; by rich."""

from typing import Any

from rich.text import Text
from rich.tree import Tree

from pipelines.models.lineage import Lineage, Node
from pipelines.show import answers, evidence_table, field_table
from zoo.card import story
from zoo.provenance import Provenance
from zoo.size import LegalSizes

SHORT = 12
"""Digits of a digest that people read."""


def print_learngene(content: dict[str, Any]) -> None:
    """Print what `verbs.describe_learngene` found."""
    answers.print(field_table(_facts(content)))
    if "provenance" in content:
        answers.print(field_table(story(Provenance.model_validate(content["provenance"]))))
    if content.get("evidence"):
        answers.print(evidence_table(content["evidence"]))
    if "lineage" in content:
        answers.print(tree_of(Lineage.model_validate(content["lineage"])))


def _facts(content: dict[str, Any]) -> dict[str, Any]:
    """What a learngene is, a row each; what it does not have is left out."""
    size, method = content["size"], content["method"]
    options = ", ".join(f"{name} {value}" for name, value in method.items() if name != "name")
    rows = {
        "learngene": f"{content['name']}:{content['version']}" if "name" in content else None,
        "aliases": content.get("aliases"),
        "registered": content.get("created"),
        "digest": content["digest"],
        "family": content["family"],
        "method": f"{method['name']} ({options})" if options else method["name"],
        "made at": ", ".join(f"{name} {value}" for name, value in size.items()),
        "gives": str(LegalSizes.model_validate(content["legal"])),
        "numbers held": content["parameters"],
        "model of that size": f"{content['model_parameters']:,} parameters, {content['model_flops']:,} FLOPs",
        "config": content["config"],
        "preprocessing": content["preprocessing"],
        "tokenizer": content["tokenizer"],
        "made of": content["parents"],
        "scores": {name: value for name, value in content.get("metrics", {}).items() if name != "parameters"},
        **{f"tag {name}": text for name, text in content.get("tags", {}).items()},
        "place": content.get("uri"),
    }
    return {name: value for name, value in rows.items() if value not in (None, [], {})}


def tree_of(lineage: Lineage) -> Tree:
    """The learngene, with what it was made from and what was made from it."""
    root = Tree(_label(lineage.learngene))
    for title, nodes in (("made from", lineage.origins), ("made from it", lineage.children)):
        if nodes:
            _grow(root.add(Text(title, "dim")), nodes)
    return root


def _grow(branch: Tree, nodes: tuple[Node, ...]) -> None:
    for node in nodes:
        _grow(branch.add(_label(node)), node.of)


def _label(node: Node) -> Text:
    named = ((node.name, "bold"), (node.digest[:SHORT] if node.digest else "", "cyan"))
    label = Text(node.kind)
    for text, style in named:
        label.append(f" {text}" if text else "", style)
    facts = ", ".join(f"{name} {_text(name, value)}" for name, value in node.facts.items())
    return label.append(f"\n{facts}" if facts else "", "dim")


def _text(name: str, value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)[:SHORT] if name == "index" else str(value)
