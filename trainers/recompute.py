"""Activation checkpointing: layers keep their inputs only, and compute again what their backward pass needs."""

from torch import nn

from zoo import Architecture
from zoo.errors import BadInputError

FAMILIES = ("vit", "convnext", "bert", "roberta", "gpt2")
"""Whose models offer it. ResNet's do too, but a second pass would count twice in the statistics of its norms."""


def recompute_(model: nn.Module, arch: Architecture) -> None:
    """Switch it on in a model of timm or transformers. Raises `BadInputError` for another family."""
    check_recompute(arch.family.name)
    if hasattr(model, "set_grad_checkpointing"):
        model.set_grad_checkpointing()  # pyright: ignore[reportCallIssue]
    else:
        options = {"use_reentrant": False}  # as timm does
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)  # pyright: ignore[reportCallIssue]


def check_recompute(family: str) -> None:
    """Raise `BadInputError` for a family whose models cannot do it."""
    if family not in FAMILIES:
        raise BadInputError(
            f"resources.activation_checkpointing: true is not possible for {family!r}; "
            f"legal families: {', '.join(FAMILIES)}"
        )
