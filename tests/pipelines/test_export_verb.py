"""`zoo export`: one file of another format from a model's folder."""

import json
from pathlib import Path

import onnxruntime
import pytest

from pipelines import cli
from zoo.checkpoint import Checkpoint, save_checkpoint
from zoo.families import architecture
from zoo.size import Size


def call(*words: str | Path) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr("sys.argv", ["zoo", *map(str, words)])
        cli.main()
    return int(end.value.code or 0)


def test_a_folder_becomes_a_file_and_other_formats_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arch = architecture("mlp", {"img_size": 4, "in_chans": 1, "num_classes": 3}, Size(depth=1, width=4))
    save_checkpoint(tmp_path / "ready", Checkpoint(arch, arch.build().state_dict()), origin="A test.")
    assert call("export", tmp_path / "ready", "--out", tmp_path / "model.onnx", "--json") == 0
    assert json.loads(capsys.readouterr().out)["difference"] <= 1e-4
    (given,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()
    assert (given.name, given.shape[1:]) == ("x", [1, 4, 4])
    for name, message in (("model.tflite", "ends in .onnx"), ("no/model.onnx", "a folder that is there")):
        assert call("export", tmp_path / "ready", "--out", tmp_path / name) == 2
        assert message in capsys.readouterr().err
