"""From a recipe to a model that timm loads by itself, through the command line only."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import RECIPE, Zoo
from safetensors.torch import load_file

from registry.server import connect

pytestmark = pytest.mark.slow


def test_a_recipe_ends_in_registered_champions(built: Zoo) -> None:
    entries = {entry["name"]: entry for entry in built("list", "--json").json}
    assert set(entries) == {"pico.weit", "pico.front"}
    assert all(entry["aliases"] == ["champion"] for entry in entries.values())
    shown = built("show", "pico.weit@champion", "--json").json
    assert shown["digest"] == entries["pico.weit"]["digest"]
    assert 0 <= shown["metrics"]["accuracy"] <= 1
    assert shown["legal"]["width"]["multiple"] == 16


def test_a_second_run_reuses_everything_and_registers_nothing_new(built: Zoo) -> None:
    again = built("run", RECIPE, "--json").json
    assert {row["state"] for row in again["stages"]} == {"cached"}
    assert {entry["version"] for entry in again["entries"]} == {1}
    assert len(built("list", "--json").json) == 2


def test_a_run_that_has_nothing_to_do_asks_no_registry_that_nobody_wrote_to(built: Zoo) -> None:
    first = built("run", RECIPE, "--json").json
    asked = "print('mlflow' in sys.modules, file=sys.stderr)"
    program = f"import sys; from pipelines.cli import main\ntry: main()\nfinally: {asked}"
    command = [sys.executable, "-c", program, "run", str(RECIPE), "--json"]
    again = subprocess.run(command, env=built.environment, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["entries"] == first["entries"]
    assert again.stderr.splitlines()[-1] == "False"


def test_a_champion_that_a_kill_left_unset_is_set_by_the_next_run(built: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(built.home))
    with connect() as client:
        client.delete_registered_model_alias("pico.weit", "champion")
    assert built("show", "pico.weit@champion").code == 3
    assert {row["state"] for row in built("run", RECIPE, "--json").json["stages"]} == {"cached"}
    assert built("show", "pico.weit@champion", "--json").json["version"] == 1


@pytest.mark.parametrize(
    ("override", "to_run"),
    [
        ("stages.ancestor.train.lr=0.01", {"ancestor", "front"}),
        ("stages.weit.train.lr=0.01", {"weit"}),
        ("stages.weit.resources.workers=1", set()),
    ],
)
def test_the_plan_names_what_a_change_makes_run(built: Zoo, override: str, to_run: set[str]) -> None:
    rows = built("plan", RECIPE, "--set", override, "--json").json
    assert {row["name"] for row in rows if row["state"] != "cached"} == to_run


def test_a_fitted_model_of_a_new_size_loads_where_the_zoo_is_not_installed(built: Zoo, tmp_path: Path) -> None:
    size = ("--depth", "3", "--width", "48", "--heads", "3")
    fit = ("--data", "digits", "--fit-steps", "5", "--fit-batch", "32")
    made = built("instantiate", "pico.weit@champion", *size, *fit, "--out", tmp_path / "ready", "--json").json
    assert (made["size"]["depth"], made["size"]["width"]) == (3, 48)
    assert 0 <= made["accuracy"] <= 1
    code = (
        "import sys; sys.modules['zoo'] = None\n"
        "import timm, torch\n"
        f"model = timm.create_model('local-dir:{tmp_path / 'ready'}', pretrained=True)\n"
        "print(sum(p.numel() for p in model.parameters()), model(torch.zeros(1, 1, 8, 8)).shape[1])"
    )
    alone = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert alone.stdout.split() == [str(made["parameters"]), "10"]


def test_a_calibrated_model_has_other_closing_maps_and_a_classifier_of_its_own(built: Zoo, tmp_path: Path) -> None:
    size = ("--depth", "2", "--width", "16", "--heads", "1", "--data", "digits")
    weights: list[dict[str, torch.Tensor]] = []
    for name, options in (("plain", ()), ("mended", ("--calibrate", "64"))):
        built("instantiate", "pico.front", *size, *options, "--out", tmp_path / name)
        weights.append(load_file(tmp_path / name / "model.safetensors"))
    plain, mended = weights
    changed = {name.rpartition(".")[0] for name in plain if not torch.equal(plain[name], mended[name])}
    assert changed == {"blocks.0.attn.proj", "blocks.0.mlp.fc2", "blocks.1.attn.proj", "blocks.1.mlp.fc2", "head"}
    assert "calibrated on 64 samples" in (tmp_path / "mended/README.md").read_text(encoding="utf-8")


def test_an_existing_checkpoint_becomes_a_learngene_without_a_recipe(built: Zoo, tmp_path: Path) -> None:
    built("instantiate", "pico.front", "--depth", "2", "--width", "32", "--out", tmp_path / "model")
    entry = built("condense", tmp_path / "model", "--set", "keep=0.5", "--name", "mine.front", "--json").json
    assert (entry["name"], entry["method"], entry["aliases"]) == ("mine.front", "front", ["champion"])
    whole = built("show", "pico.front", "--json").json
    assert entry["parameters"] < whole["parameters"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("show", "nothing"), 3, "nothing"),
        (("show", "pico.weit@best"), 3, "no alias 'best'; it has champion"),
        (("show", "pico.weit:7"), 3, "no version 7"),
        (("instantiate", "pico.weit", "--depth", "2", "--width", "40", "--out", "x"), 2, "legal values nearby: 32, 48"),
        (("instantiate", "pico.weit", "--depth", "0", "--width", "32", "--out", "x"), 2, "depth: 0"),
        (("instantiate", "pico.weit", "--depth", "2", "--width", "48", "--heads", "5", "--out", "x"), 2, "heads: 5"),
        (("instantiate", "pico.weit", "--depth", "2", "--width", "32", "--fit-steps", "3", "--out", "x"), 2, "--data"),
        (("instantiate", "pico.front", "--depth", "2", "--width", "32", "--calibrate", "8", "--out", "x"), 2, "--data"),
        (
            (
                "instantiate",
                "pico.front",
                "--depth",
                "2",
                "--width",
                "32",
                "--data",
                "digits",
                "--fit-steps",
                "3",
                "--out",
                "x",
            ),
            2,
            "nothing that can be fitted",
        ),
        (
            ("instantiate", "pico.weit", "--depth", "2", "--width", "32", "--data", "cifar", "--out", "x"),
            2,
            "legal values: digits",
        ),
        (
            (
                "instantiate",
                "pico.weit",
                "--depth",
                "2",
                "--width",
                "32",
                "--data",
                "webdataset:/no/such",
                "--out",
                "x",
            ),
            3,
            "/no/such",
        ),
        (("condense", "nowhere", "--name", "a"), 3, "config.json"),
        (("condense", "nowhere", "--name", "a", "--method", "fornt"), 2, "legal values: front"),
        (("condense", "nowhere", "--name", "a", "--set", "keep=2"), 2, "keep"),
        (("plan", "nowhere.yaml"), 3, "no such recipe"),
        (("run", str(RECIPE), "--set", "stages.weit.train.lr=0.1", "--address", "127.0.0.1:1"), 3, "127.0.0.1:1"),
    ],
)
def test_bad_input_has_its_exit_code_and_leaves_nothing(
    built: Zoo, args: tuple[str, ...], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = built(*args)
    assert (answer.code, message in answer.err) == (code, True), answer.err
    assert not list(tmp_path.iterdir())


def test_what_was_refused_is_not_registered(built: Zoo) -> None:
    names = {entry["name"] for entry in built("list", "--json").json}
    assert {"pico.weit", "pico.front"} <= names <= {"pico.weit", "pico.front", "mine.front"}


def test_a_diverging_stage_says_at_which_step_and_how_to_go_on(built: Zoo) -> None:
    answer = built.process("run", RECIPE, "--set", "stages.ancestor.train.lr=1.0e+30")
    assert answer.code == 2
    assert "the loss is nan at step" in answer.err
    assert "train.lr" in answer.err
    assert "Traceback" not in answer.err


def test_a_flipped_byte_in_the_store_is_refused(built: Zoo, tmp_path: Path) -> None:
    key = next(row["key"] for row in built("plan", RECIPE, "--json").json if row["name"] == "front")
    path = built.home / "store/stages" / key / "output/learngene.safetensors"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert built("run", RECIPE).code == 4
        answer = built("show", str(path.parent))
        assert (answer.code, "digest" in answer.err) == (4, True)
    finally:
        path.write_bytes(content)


def test_an_unreachable_registry_is_said_so_at_once(built: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    answer = built("list")
    assert answer.code == 3
    assert "127.0.0.1:9" in answer.err
    assert "secret" not in answer.err


def test_help_answers_without_loading_what_is_heavy(built: Zoo) -> None:
    heavy = ("torch", "mlflow", "ray", "deepspeed", "timm", "pydantic")
    code = "import sys\nfrom pipelines.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert "instantiate" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_answer_of_json_is_json_only(built: Zoo) -> None:
    answer = built("plan", RECIPE, "--json")
    assert json.loads(answer.out)
    assert answer.err == ""


def test_help_says_what_is_taken_where_nothing_is_given(built: Zoo) -> None:
    assert "the learngene's" in built("instantiate", "--help").out
