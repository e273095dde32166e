"""Short cards (`README.md` with metadata) for learngenes and ready models, by huggingface_hub's `ModelCard`."""

from zoo.architecture import Architecture
from zoo.manifest import Manifest


def learngene_card(manifest: Manifest) -> str:
    """The card of a learngene."""
    method = ", ".join(f"{name} {value}" for name, value in manifest.method.model_dump().items() if name != "name")
    body = f"""# Learngene ({manifest.family}, {manifest.method.name})

A size-free start for models of family `{manifest.family}`; not a model by itself.

| | |
|---|---|
| method | {manifest.method.name} ({method}) |
| made at | depth {manifest.size.depth}, width {manifest.size.width}, {manifest.size.heads} heads |
| gives | {manifest.legal} |
| numbers held | {manifest.parameters:,} |
| digest | `{manifest.digest}` |

```
zoo instantiate FOLDER_OR_NAME --depth {manifest.size.depth} --width {manifest.size.width} --out ready/
```
"""
    return _card(body, library_name="learngene-zoo", tags=["learngene", manifest.family, manifest.method.name])


def model_card(arch: Architecture, origin: str, usage: str) -> str:
    """The card of a ready model; `origin` says in a phrase what it started from, `usage` in Python how to load it."""
    size = arch.size
    body = f"""# {arch.family.name} {size}

Depth {size.depth}, width {size.width}, {size.heads} heads, MLP {size.mlp}: {arch.parameters():,} parameters,
{arch.flops():,} FLOPs for one sample. {origin}

```python
{usage}
```
"""
    library = "learngene-zoo" if arch.family.library == "zoo" else arch.family.library
    return _card(body, library_name=library, tags=["learngene-zoo", arch.family.name])


def _card(body: str, library_name: str, tags: list[str]) -> str:
    from huggingface_hub import ModelCard, ModelCardData  # slow to import; only writing cards needs it

    return str(ModelCard(f"---\n{ModelCardData(library_name=library_name, tags=tags)}\n---\n\n{body}"))
