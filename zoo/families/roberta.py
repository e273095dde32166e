"""RoBERTa: transformers' `RobertaModel` and two of its heads, as a table (Liu et al., arXiv 1907.11692).

Positions are counted from `pad_token_id + 1`. The rows of the word and position tables at `pad_token_id` stand for
padding: the library starts them at zero, and no gradient of the inputs reaches them.
"""

from typing import Any

from pydantic import PositiveInt

from zoo.families.text import (
    EncoderConfig,
    build,
    encoder_arguments,
    encoder_body,
    encoder_constants,
    encoder_flops,
    recognise_encoder,
)
from zoo.family import Family, Kind, Table, Task
from zoo.size import Size

BODY = "roberta."
CLASSES: dict[str, Task] = {
    "RobertaModel": "none",
    "RobertaForMaskedLM": "masked",
    "RobertaForSequenceClassification": "classification",
}
HEADS = {
    "none": (),
    "masked": (
        Kind("lm_head.dense.weight", "width <- width"),
        Kind("lm_head.dense.bias", "width"),
        Kind("lm_head.layer_norm.weight", "width", feeds_tied=True),
        Kind("lm_head.layer_norm.bias", "width", feeds_tied=True),
        Kind("lm_head.bias", "vocab"),
    ),
    "classification": (
        Kind("classifier.dense.weight", "width <- width"),
        Kind("classifier.dense.bias", "width"),
        Kind("classifier.out_proj.weight", "class <- width"),
        Kind("classifier.out_proj.bias", "class"),
    ),
}
TIES = {
    "lm_head.decoder.weight": BODY + "embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}


class RobertaConfig(EncoderConfig):
    """What all sizes of a RoBERTa have in common; the defaults are those of `roberta-base`.

    `pad_token_id` has none: it moves the positions and must be the tokenizer's (1 for `roberta-base`).
    """

    vocab_size: PositiveInt = 50265
    type_vocab_size: PositiveInt = 1

    @property
    def positions(self) -> int:
        """Rows of the position table: those up to the padding's belong to no position."""
        return self.max_length + self.pad_token_id + 1


def _table(config: RobertaConfig) -> Table:
    layers, outside = encoder_body("" if config.task == "none" else BODY, pooler=config.task == "none")
    return Table((layers,), outside + HEADS[config.task], TIES if config.task == "masked" else {})


def _recognise(config: Any) -> tuple[dict[str, Any], Size] | None:
    if config.model_type != "roberta":
        return None
    return recognise_encoder(config, CLASSES, unused=(config.pad_token_id or 0) + 1)


ROBERTA = Family(
    name="roberta",
    config=RobertaConfig,
    table=_table,
    constants=encoder_constants,
    build=build,
    arguments=encoder_arguments,
    flops=encoder_flops,
    library="transformers",
    recognise=_recognise,
    data={"vocab": "vocab_size", "classes": "num_labels", "task": "task"},
    longest="max_length",
    head=("task", "num_labels"),
    body=BODY,
    task=lambda config: config.task,
    residual="post",
)
