"""A trained or ready model as one ONNX file, which is compared with the model itself before it is kept.

The batch is of any size, and so is the number of tokens of a text. Needs `learngene-zoo[onnx]`.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.architecture import Architecture
from zoo.checkpoint import Checkpoint, in_full_precision
from zoo.errors import BadInputError, IntegrityError, NotFoundError

OUTPUT = "logits"
TOLERANCE = 1e-4
"""How far outputs may differ, as a share of the largest one (at least 1): fp32 sums in another order."""
LARGEST = 2**31
"""Bytes that one ONNX file can hold."""


@torch.no_grad()
def export_onnx(checkpoint: Checkpoint, path: Path) -> float:
    """Write the model to `path` and return how far its outputs are from torch's, as a share of the largest.

    Raises:
        NotFoundError: onnx, onnxscript or onnxruntime is not installed.
        BadInputError: the family cannot be exported, or the model is too large for one file.
        IntegrityError: onnxruntime computes something else; no file is left.
    """
    arch = checkpoint.arch
    if 4 * arch.parameters() >= LARGEST:
        raise BadInputError(f"{path}: one ONNX file holds 2 GiB, this model has {4 * arch.parameters():,} bytes")
    model = _Named(arch.assemble(in_full_precision(checkpoint.weights))).eval()
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        _write(model, arch, draft)
        far = max(_difference(model, inputs(arch, batch, seed=batch), draft) for batch in (1, 3))
        if not far <= TOLERANCE:
            raise IntegrityError(f"{path}: onnxruntime's outputs differ by {far:.1e} of the largest, over {TOLERANCE}")
        draft.replace(path)
    return far


def inputs(arch: Architecture, batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Random inputs by the names that the model's `forward` has for them; texts are shorter with a larger batch."""
    config, generator = arch.config.model_dump(), torch.Generator().manual_seed(seed)
    if "vocab_size" in config:
        tokens = max(config["max_length"] // batch, 2)
        ids = torch.randint(config["vocab_size"], (batch, tokens), generator=generator)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    images = {"x": torch.randn(batch, config["in_chans"], config["img_size"], config["img_size"], generator=generator)}
    if arch.family.task(arch.config) != "denoising":
        return images
    steps, classes = (torch.randint(high, (batch,), generator=generator) for high in (1000, config["num_classes"]))
    return {**images, "t": steps, "y": classes}


class _Named(nn.Module):
    """The model with one output, whatever else its library returns."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **given: Tensor) -> Tensor:
        result = self.model(given["x"]) if given.keys() == {"x"} else self.model(**given)
        return getattr(result, OUTPUT, result)


def _write(model: nn.Module, arch: Architecture, path: Path) -> None:
    given = inputs(arch, 2)
    free = 2 if "input_ids" in given else 1  # the batch, and of texts the tokens
    shapes = {name: dict.fromkeys(range(free), torch.export.Dim.DYNAMIC) for name in given}
    try:
        program = torch.onnx.export(
            model, kwargs=given, dynamic_shapes={"given": shapes}, output_names=[OUTPUT], verbose=False, dynamo=True
        )
    except ImportError as error:
        raise _not_installed(error) from error
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0]
        raise BadInputError(f"family {arch.family.name!r}: torch cannot export it to ONNX ({why})") from error
    assert program is not None
    program.save(path, external_data=False)


def _difference(model: nn.Module, given: dict[str, Tensor], path: Path) -> float:
    try:
        import onnxruntime
    except ImportError as error:
        raise _not_installed(error) from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: Any = session.run([OUTPUT], {name: tensor.numpy() for name, tensor in given.items()})[0]
    expected = model(**given)
    return float((torch.from_numpy(found) - expected).abs().max() / expected.abs().max().clamp(min=1))


def _not_installed(error: ImportError) -> NotFoundError:
    return NotFoundError(f"ONNX: {error.name or error} is not installed (learngene-zoo[onnx])")
