"""What the families of transformers share: how models are built, and the body of BERT and RoBERTa."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)
from torch import nn

from zoo.architecture import Architecture
from zoo.errors import BadInputError
from zoo.family import Kind, Segment, Task, repeat
from zoo.size import Size

AUTO: Mapping[Task, str] = {
    "none": "AutoModel",
    "masked": "AutoModelForMaskedLM",
    "classification": "AutoModelForSequenceClassification",
    "causal": "AutoModelForCausalLM",
}
"""The class of transformers that builds and loads a model of a task."""


class TextConfig(BaseModel):
    """What all sizes of a text model have in common. Samples have at most `max_length` tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocab_size: PositiveInt
    max_length: PositiveInt = 512
    hidden_act: Literal["gelu", "gelu_new"] = "gelu"
    layer_norm_eps: PositiveFloat = 1e-5
    dropout: float = Field(default=0.1, ge=0, lt=1)


class EncoderConfig(TextConfig):
    """Beside that: the head, the number of segment types, and the token that fills up short samples."""

    task: Literal["none", "masked", "classification"] = "masked"
    num_labels: PositiveInt | None = Field(default=None, validate_default=True)
    type_vocab_size: PositiveInt
    pad_token_id: NonNegativeInt

    @property
    def positions(self) -> int:
        """Rows of the position table."""
        return self.max_length

    @field_validator("num_labels")
    @classmethod
    def _labels_belong_to_classifiers(cls, labels: int | None, info: ValidationInfo) -> int | None:
        if (labels is None) == (info.data.get("task") == "classification"):
            raise ValueError("needed for task classification, and for no other")
        return labels

    @field_validator("pad_token_id")
    @classmethod
    def _padding_is_a_token(cls, token: int, info: ValidationInfo) -> int:
        if token >= info.data.get("vocab_size", token + 1):
            raise ValueError(f"it must be below vocab_size {info.data['vocab_size']}")
        return token


def build(arch: Architecture) -> nn.Module:
    """The library's model with its random start.

    Attention is torch's `scaled_dot_product_attention`, as in models that the library loads: both then compute the
    same numbers, in any precision, and no (tokens x tokens) matrix is kept for the backward pass.
    """
    import transformers  # takes seconds to import

    config = transformers.CONFIG_MAPPING[arch.family.name](**arch.family.arguments(arch))
    return getattr(transformers, AUTO[arch.family.task(arch.config)]).from_config(config, attn_implementation="sdpa")


def task_of(config: Any, classes: Mapping[str, Task]) -> Task:
    """The task of a foreign model, by the class in its `architectures`. Raises `BadInputError`."""
    names = config.architectures or []
    if len(names) != 1 or names[0] not in classes:
        raise BadInputError(f"architectures: {names}; legal values: one of {', '.join(classes)}")
    return classes[names[0]]


def encoder_arguments(arch: Architecture) -> dict[str, Any]:
    """The fields of `BertConfig` or `RobertaConfig` that make the model of this architecture."""
    config, size = arch.config, arch.size
    assert isinstance(config, EncoderConfig)
    return {
        **config.model_dump(exclude={"max_length", "dropout", "task", "num_labels"}),
        "max_position_embeddings": config.positions,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "num_hidden_layers": size.depth,
        "hidden_size": size.width,
        "num_attention_heads": size.heads,
        "intermediate_size": size.mlp,
    } | ({"num_labels": config.num_labels} if config.num_labels else {})


def recognise_encoder(config: Any, classes: Mapping[str, Task], unused: int) -> tuple[dict[str, Any], Size]:
    """Config and size of a foreign model; `unused` rows of its position table stand for no position."""
    task = task_of(config, classes)
    ours = {
        "vocab_size": config.vocab_size,
        "max_length": config.max_position_embeddings - unused,
        "hidden_act": config.hidden_act,
        "layer_norm_eps": config.layer_norm_eps,
        "dropout": config.hidden_dropout_prob,
        "task": task,
        "num_labels": config.num_labels if task == "classification" else None,
        "type_vocab_size": config.type_vocab_size,
        "pad_token_id": config.pad_token_id,
    }
    heads, mlp = config.num_attention_heads, config.intermediate_size
    return ours, Size(depth=config.num_hidden_layers, width=config.hidden_size, heads=heads, mlp=mlp)


def encoder_constants(config: EncoderConfig) -> Mapping[str, int]:
    """The extents that no size changes."""
    classes = {"class": config.num_labels} if config.num_labels else {}
    return {"vocab": config.vocab_size, "position": config.positions, "type": config.type_vocab_size, **classes}


def encoder_flops(arch: Architecture) -> int:
    """One sample of `max_length` tokens, attention to all of them."""
    config, size = arch.config, arch.size
    assert isinstance(config, EncoderConfig)
    tokens, width = config.max_length, size.width
    layer = tokens * (4 * width**2 + 2 * width * size.mlp) + 2 * tokens**2 * width
    if config.task == "masked":
        head = tokens * (width**2 + width * config.vocab_size)
    else:
        head = width**2 + width * (config.num_labels or 0)  # of the first token
    return 2 * (size.depth * layer + head)


def encoder_body(prefix: str, *, pooler: bool) -> tuple[Segment, tuple[Kind, ...]]:
    """Layers and embeddings (and the pooler), their names after `prefix`."""
    embeddings = (
        Kind(prefix + "embeddings.word_embeddings.weight", "vocab width"),
        Kind(prefix + "embeddings.position_embeddings.weight", "position width"),
        Kind(prefix + "embeddings.token_type_embeddings.weight", "type width"),
        Kind(prefix + "embeddings.LayerNorm.weight", "width"),
        Kind(prefix + "embeddings.LayerNorm.bias", "width"),
    )
    pooling = (
        Kind(prefix + "pooler.dense.weight", "width <- width"),
        Kind(prefix + "pooler.dense.bias", "width"),
    )
    return repeat(prefix + "encoder.layer.{layer}.", *LAYER), embeddings + (pooling if pooler else ())


LAYER = (
    Kind("attention.self.query.weight", "(head head_dim) <- width", attention="query"),
    Kind("attention.self.query.bias", "(head head_dim)"),
    Kind("attention.self.key.weight", "(head head_dim) <- width", attention="key"),
    Kind("attention.self.key.bias", "(head head_dim)"),
    Kind("attention.self.value.weight", "(head head_dim) <- width", attention="value"),
    Kind("attention.self.value.bias", "(head head_dim)"),
    Kind("attention.output.dense.weight", "width <- (head head_dim)", attention="out", closes_branch=True),
    Kind("attention.output.dense.bias", "width", closes_branch=True),
    Kind("attention.output.LayerNorm.weight", "width", behind_sum="inner"),
    Kind("attention.output.LayerNorm.bias", "width", behind_sum="inner"),
    Kind("intermediate.dense.weight", "mlp <- width"),
    Kind("intermediate.dense.bias", "mlp"),
    Kind("output.dense.weight", "width <- mlp", closes_branch=True),
    Kind("output.dense.bias", "width", closes_branch=True),
    Kind("output.LayerNorm.weight", "width", behind_sum="last"),
    Kind("output.LayerNorm.bias", "width", behind_sum="last"),
)
