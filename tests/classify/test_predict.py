import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from classify.device import default_device
from classify.model import Classifier, build, load, logits, save
from classify.predict import ISIC_COLUMNS, Predictions, find_model, folder_of_images, main, predict
from classify.views import view_logits
from data.errors import DataError, InputError
from data.phantoms.table import CODES
from data.pixels import PixelConfig, load_pixels

PIXELS = PixelConfig(size=32)


def predictions(classes=CODES, n=6):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(classes)), n)
    return Predictions(
        image_ids=tuple(f"i{i}" for i in range(n)), classes=tuple(sorted(classes)), probabilities=probabilities
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with two arms' classifiers."""
    folder = tmp_path_factory.mktemp("run")
    arms = {"real": {"0": "arm/real-0"}, "synthetic": {"0": "arm/synthetic-0", "1": "arm/synthetic-1"}}
    for seed, arm in enumerate(path for seeds in arms.values() for path in seeds.values()):
        network = build("none", 7, architecture="test_efficientnet", seed=seed).eval()
        save(Classifier(network=network, labels=CODES, pixels=PIXELS), folder / arm / "model")
    (folder / "run.json").write_text(json.dumps({"artifacts": {"arm": arms}}))
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    for name in ("b.jpg", "a.png", "deep/c.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_saved_temperature_and_test_views_are_used_and_leave_one_view_as_it_was(run, images, tmp_path):
    kept, manifest = load(run / "arm/real-0/model"), folder_of_images(images)
    save(dataclasses.replace(kept, temperature=2.5), tmp_path / "warm")
    save(dataclasses.replace(kept, test_views=8), tmp_path / "turned")
    pixels = load_pixels(manifest, PIXELS)
    plain, warm, turned = (
        predict(f, manifest) for f in (run / "arm/real-0/model", tmp_path / "warm", tmp_path / "turned")
    )
    outputs = logits(kept.network.to(default_device()), pixels)
    np.testing.assert_allclose(plain.probabilities, torch.softmax(outputs, 1).numpy(), atol=1e-6)
    np.testing.assert_allclose(warm.probabilities, torch.softmax(outputs / 2.5, 1).numpy(), atol=1e-6)
    mean = view_logits(kept.network, pixels, 8)
    np.testing.assert_allclose(turned.probabilities, torch.softmax(mean, 1).numpy(), atol=1e-6)
    assert np.abs(turned.probabilities - plain.probabilities).max() > 1e-4
    assert warm.predicted.tolist() == plain.predicted.tolist()


def test_the_seven_codes_are_written_as_the_challenge_wants_them(tmp_path):
    given = predictions()
    given.write(tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv")
    assert table.columns.tolist() == ["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    for k, label in enumerate(given.classes):
        np.testing.assert_allclose(table[label.upper()], given.probabilities[:, k], rtol=1e-8)
    named = table[list(ISIC_COLUMNS)].idxmax(axis=1).str.lower()
    assert named.tolist() == [given.classes[k] for k in given.predicted]


def test_other_data_sets_have_their_own_labels_sorted(tmp_path):
    predictions(("scc", "NA", "mel")).write(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == "image,NA,mel,scc"
    assert Predictions.read(tmp_path / "p.csv").classes == ("NA", "mel", "scc")


@pytest.mark.parametrize("classes", [CODES, ("scc", "mel")])
def test_what_is_written_is_read_back(classes, tmp_path):
    given = predictions(classes)
    given.write(tmp_path / "p.csv")
    again = Predictions.read(tmp_path / "p.csv")
    assert (again.image_ids, again.classes) == (given.image_ids, given.classes)
    np.testing.assert_allclose(again.probabilities, given.probabilities, rtol=1e-8)


def test_probabilities_in_single_precision_survive_the_file(tmp_path):
    given = predictions()
    single = Predictions(
        image_ids=given.image_ids, classes=given.classes, probabilities=given.probabilities.astype(np.float32)
    )
    single.write(tmp_path / "p.csv")
    again = Predictions.read(tmp_path / "p.csv").probabilities.astype(np.float32)
    np.testing.assert_array_equal(again, single.probabilities)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,a,b\nx,0.5,much\n", "row 2, column b holds 'much'; put a probability"),
        ("image,a,b\nx,0.5,0.5\ny,nan,0.5\n", "row 3, column a holds 'nan'"),
        ("image,a,b\nx,0.5,1.5\n", "row 2, column b holds '1.5'"),
        ("image,a,b\nx,0.5,0.5\nx,0.5,0.5\n", "row 3 has an image id that an earlier row has"),
        ("image,a,b\n,0.5,0.5\n", "row 2 has no image id"),
        ("image,a,b\nx,0.5\n", "row 2 has 2 fields"),
        ("id,a,b\nx,0.5,0.5\n", "the header must be `image`"),
        ("image,a\nx,0.5\n", "the header must be `image` and at least two classes"),
        ("", "the header must be `image`"),
    ],
)
def test_a_faulty_file_is_refused_by_name_and_row(text, says, tmp_path):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError) as fault:
        Predictions.read(tmp_path / "p.csv")
    assert says in str(fault.value)
    assert str(fault.value).startswith(f"{tmp_path / 'p.csv'}: ")
    assert "\n" not in str(fault.value)


def test_truth_is_refused_where_it_is_not_known():
    given = predictions()
    with pytest.raises(DataError, match="have no labels"):
        _ = given.truth
    labelled = Predictions(
        image_ids=("x",), classes=("a", "b"), probabilities=np.array([[0.1, 0.9]]), labels=("c",), groups=("g",)
    )
    with pytest.raises(DataError, match="labelled 'c'"):
        _ = labelled.truth


def test_images_are_classified_through_the_classifiers_own_pixel_path(run, images):
    manifest = folder_of_images(images)
    model = run / "arm/synthetic-1/model"
    found = predict(model, manifest, PIXELS)
    assert found.image_ids == ("a", "b", "c")
    assert found.groups == ("a", "b", "c")
    outputs = logits(load(model).network, load_pixels(manifest, PIXELS))
    assert found.predicted.tolist() == outputs.argmax(dim=1).tolist()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(InputError, match="was trained on"):
        predict(model, manifest, PixelConfig(size=48))


def test_an_image_that_would_start_a_program_is_refused_in_one_line_and_starts_none(run, tmp_path, capsys, eps):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "scan.jpg").write_bytes(eps)
    assert main([str(run), str(tmp_path / "images"), "--out", str(tmp_path / "p.csv")]) == 2
    said = capsys.readouterr().err
    assert "scan.jpg: not an image of a format that is read (JPEG, " in said
    assert said.count("\n") == 1
    assert not (tmp_path / "p.csv").exists()


def test_a_run_an_arm_and_a_model_folder_all_name_a_model(run):
    assert find_model(run) == run / "arm/synthetic-0/model"
    assert find_model(run, "synthetic", 1) == run / "arm/synthetic-1/model"
    assert find_model(run / "arm/real-0") == find_model(run / "arm/real-0/model") == run / "arm/real-0/model"


def test_images_of_one_name_in_two_folders_are_told_apart(images, tmp_path):
    for name in ("one/x.png", "two/x.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes((images / "a.png").read_bytes())
    assert folder_of_images(tmp_path).table["image_id"].tolist() == ["one/x.png", "two/x.png"]


def test_the_command_writes_the_csv_and_a_summary(run, images, tmp_path, capsys):
    out = tmp_path / "p.csv"
    assert main([str(run), str(images), "--arm", "real", "--seed", "0", "--out", str(out)]) == 0
    assert Predictions.read(out).image_ids == ("a", "b", "c")
    assert "3 images classified by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{run}", "{images}", "--arm", "mixed"], "has no arm 'mixed'; give --arm real or synthetic"),
        (["{run}", "{images}", "--arm", "real", "--seed", "7"], "arm 'real' has no seed 7; give --seed 0"),
        (["{run}", "{run}/nowhere"], "no such folder of images"),
        (["{run}", "{run}"], "holds no image"),
        (["{images}", "{images}"], "neither a finished run folder nor a classifier's model folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, says, run, images, capsys):
    assert main([part.format(run=run, images=images) for part in arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_a_broken_image_is_named_and_a_failure_of_the_program_is_not_hidden(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert main([str(run), str(tmp_path), "--out", str(tmp_path / "p.csv")]) == 2
    assert "broken.jpg" in capsys.readouterr().err

    def fail(*args, **kwargs):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("classify.predict.predict", fail)
    with pytest.raises(RuntimeError, match="out of luck"):  # Python's own traceback, and exit code 1
        main([str(run), str(tmp_path)])


@pytest.mark.slow
def test_the_module_runs_as_a_program(run, images, tmp_path):
    command = [sys.executable, "-m", "classify.predict", str(run), str(images), "--out", str(tmp_path / "p.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Predictions.read(tmp_path / "p.csv").classes == CODES


def test_links_out_of_the_folder_are_followed_only_where_that_is_asked_for(run, images, tmp_path, capsys):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "all").symlink_to(images)
    given = [str(run), str(tmp_path / "linked"), "--out", str(tmp_path / "p.csv")]
    assert main(given) == 2
    assert "linked/all: is a link out of the data set" in capsys.readouterr().err
    assert main([*given, "--follow-links", str(images)]) == 0


def test_a_certain_classifier_writes_numbers_with_a_point(tmp_path):
    certain = Predictions(image_ids=("a", "b"), classes=tuple(sorted(CODES)), probabilities=np.eye(7)[:2])
    certain.write(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines()[1].count("0.0") == 6
    assert pd.read_csv(tmp_path / "p.csv").dtypes.iloc[1:].eq("float64").all()
    assert (Predictions.read(tmp_path / "p.csv").probabilities == certain.probabilities).all()


def test_the_models_of_a_repeat_lie_in_the_study_s_folder_and_a_study_of_several_names_one(run, tmp_path):
    record = json.loads((run / "run.json").read_text())
    repeat = tmp_path / "study" / "repeats" / "seed-1"
    repeat.mkdir(parents=True)
    (repeat / "run.json").write_text(json.dumps({**record, "config": {"is_repeat": True}}))
    assert find_model(repeat, "real") == tmp_path / "study/arm/real-0/model"
    (tmp_path / "study" / "run.json").write_text(json.dumps({"repeats": ["repeats/seed-1"]}))
    with pytest.raises(
        InputError, match=r"is a study of several repeats; give the folder of one, e\.g\. .*/repeats/seed-1"
    ):
        find_model(tmp_path / "study")
