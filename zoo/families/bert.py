"""BERT: transformers' `BertModel` and two of its heads, as a table (Devlin et al., arXiv 1810.04805)."""

from typing import Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

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

BODY = "bert."
CLASSES: dict[str, Task] = {
    "BertModel": "none",
    "BertForMaskedLM": "masked",
    "BertForPreTraining": "masked",  # its second head, for the next sentence, is left out
    "BertForSequenceClassification": "classification",
}
HEADS = {
    "none": (),
    "masked": (
        Kind("cls.predictions.transform.dense.weight", "width <- width"),
        Kind("cls.predictions.transform.dense.bias", "width"),
        Kind("cls.predictions.transform.LayerNorm.weight", "width", feeds_tied=True),
        Kind("cls.predictions.transform.LayerNorm.bias", "width", feeds_tied=True),
        Kind("cls.predictions.bias", "vocab"),
    ),
    "classification": (Kind("classifier.weight", "class <- width"), Kind("classifier.bias", "class")),
}
TIES = {
    "cls.predictions.decoder.weight": BODY + "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


class BertConfig(EncoderConfig):
    """What all sizes of a BERT have in common; the defaults are those of `bert-base-uncased`."""

    vocab_size: PositiveInt = 30522
    layer_norm_eps: PositiveFloat = 1e-12
    type_vocab_size: PositiveInt = 2
    pad_token_id: NonNegativeInt = 0


def _table(config: BertConfig) -> Table:
    layers, outside = encoder_body("" if config.task == "none" else BODY, pooler=config.task != "masked")
    return Table((layers,), outside + HEADS[config.task], TIES if config.task == "masked" else {})


def _recognise(config: Any) -> tuple[dict[str, Any], Size] | None:
    return recognise_encoder(config, CLASSES, unused=0) if config.model_type == "bert" else None


BERT = Family(
    name="bert",
    config=BertConfig,
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
