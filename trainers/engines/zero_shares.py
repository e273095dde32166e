"""The optimizer state of ZeRO 1 to 3: whole, parameter by parameter, and back into every worker's share.

DeepSpeed keeps one flat tensor for each group of parameters, of which a worker has a share; the optimizer's state
belongs to that tensor. So a group counts its steps together.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from trainers.engines.base import OptimizerState

STEP = "step"
"""The one field that has no number for every number of the parameter."""


def gathered_state(zero: Any, stage: int, named: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The whole state of every trained parameter, in its shape; all workers walk through it together."""
    from deepspeed.utils import safe_get_full_optimizer_state

    names = {id(p): name for name, p in named.items()}
    for parameters, flat in _groups(zero, stage):
        state = zero.optimizer.state[flat]
        for p in parameters:
            if stage < 3:
                _link(p, flat, zero)
            whole: dict[str, Any] = {f: safe_get_full_optimizer_state(p, f) for f in state if f != STEP}
            yield names[id(p)], whole | ({STEP: state[STEP]} if STEP in state else {})


def adopt_shares_(zero: Any, stage: int, named: Mapping[str, Tensor], state: OptimizerState) -> None:
    """Let every worker keep its share of `state`, which holds every trained parameter, in its shape."""
    from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

    flats = {id(p): flat for parameters, flat in _groups(zero, stage) for p in parameters}
    for name, fields in state:
        parameter = named[name]
        flat = flats[id(parameter)]
        _reserve(zero.optimizer.state[flat], flat, fields)
        if stage < 3:
            _link(parameter, flat, zero)
        for field in fields.keys() - {STEP}:
            if stage < 3:
                safe_set_full_optimizer_state(parameter, fields[field].to(parameter.device), field)
            else:
                safe_set_local_optimizer_state(parameter, _share(parameter, fields[field]), field)


def _groups(zero: Any, stage: int) -> list[tuple[list[Tensor], Tensor]]:
    """The parameters of each group and this worker's share of them, `(n,)`."""
    if stage == 3:
        return list(zip(zero.fp16_groups, zero.fp32_partitioned_groups_flat, strict=True))
    return list(zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True))


def _reserve(held: dict[str, Tensor], flat: Tensor, fields: Mapping[str, Tensor]) -> None:
    """Room for the state of a group, `(n,)` a field, which DeepSpeed's optimizer makes in its first step only."""
    for field, tensor in fields.items():
        if field == STEP:
            held[STEP] = tensor.detach().to(flat.device, copy=True)
        elif field not in held:
            held[field] = torch.zeros_like(flat)


def _link(parameter: Any, flat: Tensor, zero: Any) -> None:
    """Tell a parameter of ZeRO 1 or 2 where its part of the group's state is.

    DeepSpeed does so after the first step of the first group, when the others have no state yet.
    """
    if parameter._hp_mapping is not None:  # a worker whose share it is in
        parameter._hp_mapping.set_optim_state_fragment(flat, zero.optimizer.state[flat])


def _share(parameter: Any, whole: Tensor) -> Tensor:
    """This worker's share of a tensor of the parameter's shape, `(n,)`, under ZeRO 3, which fills up the last one."""
    rank = torch.distributed.get_rank(parameter.ds_process_group)
    size = parameter.ds_tensor.numel()
    flat = whole.flatten()
    return pad(flat[rank * size : (rank + 1) * size], (0, max(0, size - max(0, flat.numel() - rank * size))))
