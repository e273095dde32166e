"""GPT-2: transformers' `GPT2LMHeadModel`, as a table (Radford et al., 2019). Its maps store inputs first."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import PositiveInt

from zoo.architecture import Architecture
from zoo.families.text import TextConfig, build, task_of
from zoo.family import Family, Kind, Table, repeat
from zoo.size import Size

BODY = "transformer."


class GPT2Config(TextConfig):
    """What all sizes of a GPT-2 have in common; the defaults are those of `gpt2`."""

    task: Literal["causal"] = "causal"
    vocab_size: PositiveInt = 50257
    max_length: PositiveInt = 1024
    hidden_act: Literal["gelu", "gelu_new"] = "gelu_new"


def _arguments(arch: Architecture) -> dict[str, Any]:
    config, size = arch.config, arch.size
    assert isinstance(config, GPT2Config)
    return {
        "vocab_size": config.vocab_size,
        "n_positions": config.max_length,
        "activation_function": config.hidden_act,
        "layer_norm_epsilon": config.layer_norm_eps,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "n_layer": size.depth,
        "n_embd": size.width,
        "n_head": size.heads,
        "n_inner": size.mlp,
        # Keys and values are kept for generation only, where `generation_config.json` asks for it.
        "use_cache": False,
        # The library's own are numbers of one certain vocabulary.
        "bos_token_id": None,
        "eos_token_id": None,
    }


def _flops(arch: Architecture) -> int:
    """One sample of `max_length` tokens; the masked half of the attention is computed too."""
    config, size = arch.config, arch.size
    assert isinstance(config, GPT2Config)
    tokens, width = config.max_length, size.width
    layer = tokens * (4 * width**2 + 2 * width * size.mlp) + 2 * tokens**2 * width
    return 2 * (size.depth * layer + tokens * width * config.vocab_size)


def _constants(config: GPT2Config) -> Mapping[str, int]:
    return {"qkv": 3, "vocab": config.vocab_size, "position": config.max_length}


def _recognise(config: Any) -> tuple[dict[str, Any], Size] | None:
    if config.model_type != "gpt2":
        return None
    ours = {
        "task": task_of(config, {"GPT2LMHeadModel": "causal"}),
        "vocab_size": config.vocab_size,
        "max_length": config.n_positions,
        "hidden_act": config.activation_function,
        "layer_norm_eps": config.layer_norm_epsilon,
        "dropout": config.resid_pdrop,
    }
    mlp = config.n_inner or 4 * config.n_embd
    return ours, Size(depth=config.n_layer, width=config.n_embd, heads=config.n_head, mlp=mlp)


TABLE = Table(
    segments=(
        repeat(
            BODY + "h.{layer}.",
            Kind("ln_1.weight", "width", scales="attn.c_attn"),
            Kind("ln_1.bias", "width", shifts="attn.c_attn"),
            Kind("attn.c_attn.weight", "width -> (qkv head head_dim)", attention="qkv"),
            Kind("attn.c_attn.bias", "(qkv head head_dim)"),
            Kind("attn.c_proj.weight", "(head head_dim) -> width", attention="out", closes_branch=True),
            Kind("attn.c_proj.bias", "width", closes_branch=True),
            Kind("ln_2.weight", "width", scales="mlp.c_fc"),
            Kind("ln_2.bias", "width", shifts="mlp.c_fc"),
            Kind("mlp.c_fc.weight", "width -> mlp"),
            Kind("mlp.c_fc.bias", "mlp"),
            Kind("mlp.c_proj.weight", "mlp -> width", closes_branch=True),
            Kind("mlp.c_proj.bias", "width", closes_branch=True),
        ),
    ),
    outside=(
        Kind(BODY + "wte.weight", "vocab width"),
        Kind(BODY + "wpe.weight", "position width"),
        Kind(BODY + "ln_f.weight", "width", feeds_tied=True, scales="lm_head"),
        Kind(BODY + "ln_f.bias", "width", feeds_tied=True),
    ),
    ties={"lm_head.weight": BODY + "wte.weight"},
)

GPT2 = Family(
    name="gpt2",
    config=GPT2Config,
    table=lambda _: TABLE,
    constants=_constants,
    build=build,
    arguments=_arguments,
    flops=_flops,
    library="transformers",
    recognise=_recognise,
    data={"vocab": "vocab_size", "task": "task"},
    longest="max_length",
    body=BODY,
    task=lambda _: "causal",
    rotates=True,
)
