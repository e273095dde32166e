"""Folders that transformers loads with `AutoModel*.from_pretrained(FOLDER)`, whoever wrote them."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from zoo.architecture import Architecture, Weights
from zoo.errors import BadInputError
from zoo.families.text import AUTO
from zoo.files import write_json
from zoo.formats.base import CONFIG, WEIGHTS, Format
from zoo.manifest import Preprocessing

if TYPE_CHECKING:
    from zoo.checkpoint import Checkpoint

INERT = re.compile(
    r".*(dropout|pdrop).*|summary_.*|(bos|eos|pad)_token_id|initializer_range|use_cache|chunk_size_feed_forward|"
    r"output_.*|return_dict|id2label|label2id|problem_type|dtype|architectures|transformers_version|_name_or_path"
)
"""Fields of a config that do not change what an evaluated model computes."""
RETIRED = {"position_embedding_type": "absolute", "per_layer_config": None, "quantization_config": None}
"""Fields that some versions write only where a model is another function, with the value that it is not."""
UNUSED = re.compile(
    r"(.*\.)?(embeddings\.(position|token_type)_ids|attn\.(masked_)?bias|pooler\.dense\.(weight|bias)|"
    r"cls\.seq_relationship\.(weight|bias))"
)
"""Tensors that files carry beside those of the model: buffers of old versions, a pooler that the task has no use for,
the head for the next sentence."""
ROLES = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
    "bos_token": ("<s>", "<|endoftext|>"),
    "eos_token": ("</s>", "<|endoftext|>"),
}
"""The names that BERT, RoBERTa, GPT-2 and the zoo's own tokenizers have for special tokens."""


class Transformers(Format):
    """transformers' `config.json`, weights, and the files of a tokenizer."""

    mark = "model_type"

    def write(self, folder: Path, checkpoint: "Checkpoint") -> None:
        """As the library saves a model; the tokenizer's own file as it is."""
        model: Any = checkpoint.model
        with _quiet():
            model.save_pretrained(folder)
        if checkpoint.tokenizer is not None:
            (folder / "tokenizer.json").write_text(checkpoint.tokenizer, encoding="utf-8")
            special = _special_tokens(checkpoint.tokenizer)
            write_json(folder / "tokenizer_config.json", _tokenizer_config(checkpoint.arch, special))
            if model.can_generate():
                _save_generation_config(folder, special)

    def describe(self, folder: Path, content: dict[str, Any]) -> tuple[Architecture, Preprocessing | None]:
        """Read `config.json` through the library's own classes; code in the folder is never run."""
        from zoo.families import FAMILIES, architecture

        families = [family for family in FAMILIES.values() if family.library == "transformers"]
        for family in families:
            if family.name == content["model_type"] and (found := family.recognise(_config(content))):
                return architecture(family.name, *found), None
        legal = ", ".join(family.name for family in families)
        raise BadInputError(f"a {content['model_type']!r} is of no family of the zoo; legal families: {legal}")

    def refuse_another_function(self, folder: Path, arch: Architecture) -> None:
        """Whatever the family's config does not say must be as the library has it by default."""
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config = _config(content)
        found = content | config.to_dict()
        known = arch.family.arguments(arch)
        for field, expected in (type(config)().to_dict() | RETIRED).items():
            value = found.get(field, expected)
            if field not in known and not INERT.fullmatch(field) and value != expected:
                raise BadInputError(f"{field}: {value!r}; family {arch.family.name!r} has {expected!r}")

    def weights(self, folder: Path, arch: Architecture) -> Weights:
        """By the table's names: the body's prefix may be missing or too much; what the model has no use for is left."""
        names = {*arch.shapes(), *arch.table.ties}
        state: Weights = {}
        for stored, tensor in load_file(folder / WEIGHTS).items():
            # The published `bert-base-uncased` still has TensorFlow's names, which the library translates as well.
            name = stored.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
            bare = name.removeprefix(arch.family.body)
            ours = next((n for n in (name, bare, arch.family.body + bare) if n in names), name)
            if ours in names or not UNUSED.fullmatch(name):
                state[ours] = tensor
        for alias, name in arch.table.ties.items():
            if alias in state and name in state and not torch.equal(state[alias], state[name]):
                raise BadInputError(f"{alias} is not {name}, which family {arch.family.name!r} ties it to")
        return arch.own(state)

    def usage(self, arch: Architecture) -> str:
        """How to load it."""
        auto = AUTO[arch.family.task(arch.config)]
        return (
            f"from transformers import {auto}, AutoTokenizer\n"
            f'model = {auto}.from_pretrained("PATH_OF_THIS_FOLDER")\n'
            'tokenizer = AutoTokenizer.from_pretrained("PATH_OF_THIS_FOLDER")  # if there is a tokenizer.json'
        )


def _config(content: dict[str, Any]) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[content["model_type"]].from_dict(content)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise BadInputError(f"transformers cannot use this config: {error}") from error


def _special_tokens(tokenizer: str) -> dict[str, tuple[str, int]]:
    """Token and id for every role that this `tokenizer.json` has a special token for."""
    special = {token["content"]: token["id"] for token in json.loads(tokenizer)["added_tokens"] if token["special"]}
    found = {role: [name for name in names if name in special] for role, names in ROLES.items()}
    return {role: (names[0], special[names[0]]) for role, names in found.items() if names}


def _tokenizer_config(arch: Architecture, special: dict[str, tuple[str, int]]) -> dict[str, Any]:
    config = arch.config.model_dump()
    # A model without segment types fails on them, and GPT-2 would take them for words.
    segments = ["token_type_ids"] if config.get("type_vocab_size", 1) > 1 else []
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config["max_length"],
        "model_input_names": ["input_ids", *segments, "attention_mask"],
        **{role: name for role, (name, _) in special.items()},
    }


def _save_generation_config(folder: Path, special: dict[str, tuple[str, int]]) -> None:
    from transformers import GenerationConfig

    ids = {f"{role}_id": id for role, (_, id) in special.items() if role in ("bos_token", "eos_token", "pad_token")}
    GenerationConfig(**ids).save_pretrained(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars: what they report takes no time."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
