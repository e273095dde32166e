"""Cards (`README.md` with metadata) for learngenes and ready models, by huggingface_hub's `ModelCard`.

A card is for people and part of no digest: it may be written again when more is known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zoo.architecture import Architecture
from zoo.manifest import Manifest
from zoo.provenance import Provenance

MEASURED = ("bench", "start", "size", "test score", "scratch", "scratch, long", "speed-up")
"""What a row of evidence says: of models that start from a learngene, of scratch's short and of its long training."""
SPEED_UP = (
    "Speed-up: the steps that scratch needs for the final score of its long training, over those of this start to the "
    "same score (≥: it was there before the first step)."
)


@dataclass(frozen=True)
class About:
    """What is known of a learngene beside its manifest.

    evidence: rows of `MEASURED`; pictures: files beside the card, by what they show.
    """

    ref: str = ""
    provenance: Provenance | None = None
    evidence: Sequence[Sequence[str]] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    license: str | None = None


@dataclass(frozen=True)
class Start:
    """What a ready model started from: a learngene's name and digest, and the evidence of the nearest measured size."""

    ref: str
    digest: str
    nearest: Sequence[str] | None = None


def learngene_card(manifest: Manifest, about: About | None = None) -> str:
    """The card of a learngene, with all that is known about it."""
    about = about or About()
    title = about.ref or f"Learngene ({manifest.family}, {manifest.method.name})"
    parts = [
        f"# {title}",
        f"A size-free start for models of family `{manifest.family}`; not a model by itself.",
        pipe_table(("", ""), _facts(manifest)),
        _use(manifest, about.ref),
        *(_quality(about) if about.evidence else ()),
        *(_origin(about.provenance) if about.provenance else ()),
        *(("## Licence", about.license) if about.license else ()),
    ]
    tags = ["learngene", manifest.family, manifest.method.name]
    return _card(parts, library_name="learngene-zoo", tags=tags, license=about.license)


def model_card(
    arch: Architecture, origin: str, usage: str, start: Start | None = None, scores: Mapping[str, float] | None = None
) -> str:
    """The card of a ready model; `origin` says in a phrase what it started from, `usage` in Python how to load it."""
    size = arch.size
    facts = [
        ("size", f"depth {size.depth}, width {size.width}, {size.heads} heads, MLP {size.mlp}"),
        ("parameters", f"{arch.parameters():,}"),
        ("FLOPs of one sample", f"{arch.flops():,}"),
        *((f"{name} (held-out data)", f"{value:.4g}") for name, value in (scores or {}).items()),
        *((("started from", f"`{start.ref}`"), ("its digest", f"`{start.digest}`")) if start else ()),
    ]
    parts = [f"# {arch.family.name} {size}", origin, pipe_table(("", ""), facts), f"```python\n{usage}\n```"]
    if start and start.nearest:
        parts += ["## The nearest size that was measured", pipe_table(MEASURED, [start.nearest]), SPEED_UP]
    library = "learngene-zoo" if arch.family.library == "zoo" else arch.family.library
    return _card(parts, library_name=library, tags=["learngene-zoo", arch.family.name])


def pipe_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    body = "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)
    return f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n{body}"


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    options = ", ".join(f"{name} {value}" for name, value in manifest.method.model_dump().items() if name != "name")
    return [
        ("method", f"{manifest.method.name} ({options})"),
        ("made at", f"depth {manifest.size.depth}, width {manifest.size.width}, {manifest.size.heads} heads"),
        ("gives", str(manifest.legal)),
        ("numbers held", f"{manifest.parameters:,}"),
        ("digest", f"`{manifest.digest}`"),
    ]


def _use(manifest: Manifest, ref: str) -> str:
    size, name = manifest.size, ref or "FOLDER_OR_NAME"
    return f"""## Use

```
zoo instantiate {name} --depth {size.depth} --width {size.width} --out ready/
```

```python
import zoo
model = zoo.load("{name}", depth={size.depth}, width={size.width})
```"""


def _quality(about: About) -> list[str]:
    pictures = [f"![{what}]({file})" for what, file in about.pictures.items()]
    return ["## How good models are that start from it", pipe_table(MEASURED, about.evidence), SPEED_UP, *pictures]


def _origin(provenance: Provenance) -> list[str]:
    rows = [
        (
            made.stage,
            made.function,
            str(made.seed if made.seed is not None else ""),
            _short(made.digest),
            str(made.cost),
        )
        for made in provenance.stages
    ]
    given = [
        f"- stage `{made.stage}` started from {origin.kind} {origin.name} {_short(origin.digest)}"
        for made in provenance.stages
        for origin in made.inputs.values()
        if origin.kind != "stage"
    ]
    return [
        "## Where it comes from",
        pipe_table(("stage", "does", "seed", "digest", "cost"), rows),
        *(["\n".join(given)] if given else []),
        "\n".join(f"- **{name}**: {text}" for name, text in story(provenance).items()),
    ]


def story(provenance: Provenance) -> dict[str, str]:
    """Where a learngene comes from, in a few lines; the environment is that of its last stage."""
    count = len(provenance.stages)
    lines = {"cost of all": f"{provenance.cost} ({count} stage{'s' if count > 1 else ''})"}
    if recipe := provenance.recipe:
        lines["recipe"] = recipe.name + (f" ({', '.join(recipe.overrides)})" if recipe.overrides else "")
    if data := provenance.data:
        lines["data"] = f"{data.kind}, content {data.digest[:12]}" + (
            f", index {data.index[:12]}" if data.index else ""
        )
    if ran := provenance.own.environment:
        versions = ", ".join(f"{name} {version}" for name, version in ran.versions.items())
        lines |= {"code": str(ran.code), "versions": versions, "hardware": str(ran.hardware)}
    return lines


def _short(digest: str | None) -> str:
    return f"`{digest[:12]}`" if digest else ""


def _card(parts: Sequence[str], library_name: str, tags: list[str], license: str | None = None) -> str:
    from huggingface_hub import ModelCard, ModelCardData  # slow to import; only writing cards needs it

    data = ModelCardData(library_name=library_name, license=license, tags=tags)
    return str(ModelCard("---\n" + str(data) + "\n---\n\n" + "\n\n".join(parts) + "\n"))
