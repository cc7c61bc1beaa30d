import base64
import json
import re
import subprocess
import sys
import urllib.request
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from flows.augment_and_evaluate import main
from flows.clean import main as clean
from flows.export import base_of
from flows.step import study_of
from reports.render import main as report
from reports.run_folder import RunFolder

REPOSITORY = Path(__file__).parents[2]

# diffusers' scheduler hands a tensor to numpy the old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ARTIFACTS = {"split", "finetune", "images", "autoencoded", "probe", "arm"}  # and what judges them


@pytest.fixture(scope="module")
def first_run(small_study, tmp_path_factory):
    """One true run, from drawing the images to the report."""
    assert main([*small_study, "name=whole", "coding=mixed"]) == 0
    return _run_folder(small_study)


@pytest.mark.slow
def test_a_run_ends_in_a_report_that_answers(first_run, capsys):
    page = (first_run / "report.html").read_text(encoding="utf-8")
    summary = json.loads((first_run / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["balanced_accuracy"]) == {"real", "oversampled", "synthetic"}
    assert "Synthetic images" in page
    record = json.loads((first_run / "run.json").read_text(encoding="utf-8"))
    assert set(record["artifacts"]) >= ARTIFACTS
    assert all((first_run / folder).is_dir() for folder in record["artifacts"]["images"].values())
    assert not list(first_run.rglob("*.partial"))


@pytest.mark.slow
def test_no_image_of_the_test_part_was_seen_by_the_generator(first_run):
    (split,), (images,) = first_run.glob("split-*"), (first_run / "images").glob("df-*")
    leakage = json.loads((split / "leakage.json").read_text(encoding="utf-8"))
    tested = {row.split(",")[4] for row in (split / "test.csv").read_text(encoding="utf-8").splitlines()[1:]}
    seen = json.loads((images / "generation.json").read_text(encoding="utf-8"))["provenance"]
    assert leakage["shared_groups"] == 0
    assert seen["group_ids"]
    assert not tested & set(seen["group_ids"])


@pytest.mark.slow
def test_a_second_run_does_nothing_again_and_a_new_classifier_only_the_arms(first_run, small_study, capsys):
    assert main([*small_study, "name=whole", "coding=mixed"]) == 0
    lines = capsys.readouterr().out.splitlines()
    steps = steps_of(lines)
    arms = {"arm real 0", "arm oversampled 0", "arm synthetic 0"}
    assert {"fine-tune df", "images df", "autoencoded df", "autoencoded nv", "probe", *arms} <= steps.keys()
    assert all("kept from before" in line for line in steps.values()), lines
    assert sum(" disk: at most " in line and " free in " in line for line in lines) == 1
    assert main([*small_study, "name=whole", "coding=mixed", "classifier.learning_rate=0.004"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {step for step, line in steps_of(lines).items() if "kept" not in line} == arms


@pytest.mark.slow
def test_what_a_run_writes_names_no_home_folder_and_is_still_read(first_run, small_study, monkeypatch, capsys):
    home = first_run.parents[1]
    base = next(word.partition("=")[2] for word in small_study if word.startswith("base.source="))
    monkeypatch.setenv("HOME", str(home))
    assert Path(base).is_relative_to(home)
    assert main([*small_study, "name=whole", "coding=mixed"]) == 0
    assert "fine-tune df: kept from before" in capsys.readouterr().out
    shared = [path for kind in ("*.json", "*.html", "*.md") for path in first_run.glob(kind)]
    assert {"report.html", "summary.json", "run.json", "plan.json", "model-card.md"} <= {path.name for path in shared}
    assert [path.name for path in shared if str(home) in path.read_text(encoding="utf-8")] == []
    assert "~/" in json.loads((first_run / "run.json").read_text(encoding="utf-8"))["config"]["base"]["source"]
    assert study_of(first_run)[0].base.source == base
    assert base_of(RunFolder.open(first_run)).source == base
    assert clean([str(first_run.parent), "--yes"]) == 0
    assert not list(first_run.glob("thumbs/*/real-*.jpg"))
    assert not (first_run / "report.html").exists()
    assert report([str(first_run)]) == 0
    assert (first_run / "report.html").is_file()


def steps_of(lines):
    """The lines of a run's steps by their ids."""
    numbered = [re.match(r" *\d+/\d+ ([^:]+)", line) for line in lines]
    return {found[1]: found.string for found in numbered if found and found[1] != "report"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["clasifier.steps=3"], "clasifier: unknown key; did you mean 'classifier'?"),
        (["data.source=folders", "data.folder=nowhere"], "nowhere: no such folder"),
        (["split.rare=[zebra]"], "zebra"),
        (
            ["prompts.class_names={zebra: horse}"],
            "prompts.class_names: the data set has no class 'zebra'; it has akiec",
        ),
        (["prompts.modality=' '"], "prompts.modality"),
        (["classifier.weights=nowhere.safetensors"], "nowhere.safetensors"),
        (["classifier.weights=lite0-package"], "set model: tf_efficientnet_lite0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(small_study, overrides, words, capsys):
    assert main([*small_study, "name=refused", "arms=[real]", *overrides]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("classifier.model=eficientnet_b0", "timm makes no 'eficientnet_b0'; did you mean 'efficientnet_b0'?"),
        ("classifier.weights=nowhere.pth", "nowhere.pth: no such weights"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_before_any_work(small_study, tmp_path, override, words, capsys):
    assert main([*small_study, f"output_dir={tmp_path}", override]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "read images" not in said.out


def test_a_missing_config_is_said_at_once():
    ran = subprocess.run(
        [sys.executable, "-m", "flows.augment_and_evaluate", "configs/demmo.yaml"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert (
        ran.stderr
        == "error: configs/demmo.yaml: no such file; give the path of a YAML config, e.g. configs/demo.yaml\n"
    )


@pytest.mark.slow
def test_under_prefect_the_steps_are_tasks_and_the_answer_is_the_state(first_run, small_study, server):
    program = (
        "import sys; from flows.augment_and_evaluate import augment_and_evaluate as flow\n"
        "def run(*more):\n"
        "    state = flow(sys.argv[1], [*sys.argv[2:], *more], return_state=True); print(state.name, state.message)\n"
        "run(); run('split.rare=[zebra]')\n"
        "import flows.pipeline, flows.prepare; from data.errors import TrainingError\n"
        "def broken(*_): raise TrainingError('the loss is nan')\n"
        "flows.prepare.read_images = broken; run()\n"
        "def long(_, runner): runner('arm', 'real 0', work)\n"
        "def work(progress):\n"
        "    progress._every = 0; progress(1, 4); progress(2, 4); progress(4, 4); broken()\n"
        "flows.pipeline.run_study = long; run()"
    )
    command = [sys.executable, "-c", program, *small_study, "name=whole", "coding=mixed"]
    ran = subprocess.run(command, cwd=REPOSITORY, env=server, capture_output=True, text=True, check=False)
    assert re.search(r"Completed .*Balanced accuracy: synthetic", ran.stdout), ran.stdout + ran.stderr
    assert "Finished in state Reused" in ran.stderr
    assert "Refused split.rare names 'zebra'" in ran.stdout
    assert ran.stdout.count("Failed training the loss is nan") == 2
    assert "Traceback" not in ran.stderr
    _assert_shown(server["PREFECT_API_URL"], first_run)


def _assert_shown(api, run):
    """Report, metrics, samples and progress stand in the UI, each once, as what the run folder says."""
    asked = urllib.request.Request(f"{api}/artifacts/filter", b"{}", {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - our own server
        artifacts = [artifact for artifact in json.load(answer) if artifact["key"]]
    shown = {artifact["key"]: artifact for artifact in artifacts}
    assert sorted(shown) == ["metrics", "preview-df", "progress-arm-real-0", "report", "samples-df"]
    assert len(artifacts) == len(shown)
    page = (run / "report.html").resolve()
    assert page.is_file()
    assert shown["report"]["data"] == f"[report.html]({page.as_uri()})"
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    table = json.loads(shown["metrics"]["data"])
    assert [row["arm"] for row in table] == ["real", "oversampled", "synthetic"]
    for row in table:
        assert float(row["balanced accuracy"]) == pytest.approx(
            summary["balanced_accuracy"][row["arm"]]["mean"], abs=5e-4
        )
        assert {f"recall {label}" for label in summary["classes"]} < set(row)
    assert shown["report"]["description"].startswith(shown["metrics"]["description"])
    kind, _, sheet = shown["samples-df"]["data"].partition("base64,")
    assert kind == "data:image/jpeg;"
    assert Image.open(BytesIO(base64.b64decode(sheet))).format == "JPEG"
    assert shown["progress-arm-real-0"]["data"] == 100


def _run_folder(small_study):
    from flows.study import load_study

    return load_study(small_study[0], [*small_study[1:], "name=whole", "coding=mixed"]).folder
