"""ONNX files compute what the model computes, for any batch, or are not left behind."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from pico_families import pico, trained

from zoo.checkpoint import Checkpoint
from zoo.errors import IntegrityError
from zoo.formats import onnx
from zoo.formats.onnx import TOLERANCE, export_onnx, inputs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["vit", "resnet", "bert", "gpt2"])
def test_onnxruntime_computes_what_torch_computes_for_any_batch(name: str, tmp_path: Path) -> None:
    arch = pico(name)
    checkpoint = Checkpoint(arch, trained(arch))
    assert export_onnx(checkpoint, tmp_path / "model.onnx") <= TOLERANCE
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    given = inputs(arch, 5, seed=9)
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
    with torch.no_grad():
        model = checkpoint.model
        expected = model(given["x"]) if "x" in given else model(**given).logits
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_that_computes_something_else_is_refused_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "TOLERANCE", -1.0)  # no model meets it
    arch = pico("mlp")
    with pytest.raises(IntegrityError, match="onnxruntime's outputs differ by"):
        export_onnx(Checkpoint(arch, trained(arch)), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
