import csv
import dataclasses
import gc
import shutil

import datasets
import numpy as np
import pytest
from PIL import Image

from augment.base.config import BaseConfig
from augment.finetune.examples import seed_for
from augment.finetune.run import FinetuneConfig, finetune
from augment.generate import run as module
from augment.generate.pipeline import Wardrobe
from augment.generate.run import GenerateConfig, generate, synthetic_manifest
from augment.prompts import Attributes, prompt_for
from data.errors import BaseError, ConfigError, DataError
from data.pixels import PixelConfig
from data.store import read_json, write_json

CONFIG = GenerateConfig(steps=2, batch_size=4, format="png")
PROMPT = prompt_for("df")


@pytest.fixture(scope="module")
def adapter(base, shots, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    config = FinetuneConfig(steps=2, batch_size=2, rank=2, learning_rate=1e-2, preview_every=0)
    finetune(base, {"df": shots["df"]}, PixelConfig(size=32), config, {"df": folder}, 0)
    return folder


def draw(base, out, adapter=None, count=6, config=CONFIG, **options):
    return generate(base, adapter, "df", PROMPT, count, 0, config, out, 32, **options)


def rows(out):
    with (out / "metadata.csv").open() as file:
        return list(csv.DictReader(file))


# datasets leaves the CSV open for the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_datasets_reads_the_folder_as_images_with_their_lineage(base, adapter, tmp_path):
    config = dataclasses.replace(CONFIG, negative_prompt="hair", format="jpg")
    draw(base, tmp_path / "out", adapter, config=config)
    read = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert len(read["train"]) == 6
    first = read["train"][0]
    assert first["image"].size == (32, 32)
    assert first["label"] == "df"
    assert first["adapter"] == read_json(adapter / "adapter.json")["sha256"]
    assert (first["prompt"], first["negative_prompt"]) == (PROMPT, "hair")
    assert (first["steps"], first["guidance"], first["sampler"]) == (2, 2.0, "dpmsolver++2m")
    assert {row["seed"] for row in read["train"]} == {seed_for(0, "df", index) for index in range(6)}
    del read
    gc.collect()


def test_file_name_comes_first_and_the_seen_groups_are_kept(base, adapter, shots, tmp_path):
    draw(base, tmp_path, adapter)
    assert next(iter(rows(tmp_path)[0])) == "file_name"
    assert rows(tmp_path)[5]["file_name"] == "images/df-000005.png"
    assert read_json(tmp_path / "generation.json")["seen"]["group_ids"] == sorted(shots["df"].table["group_id"])


def test_the_manifest_reads_back_as_synthetic(base, adapter, tmp_path):
    made = draw(base, tmp_path / "images" / "df-1", adapter)
    assert len(made) == 6
    assert all(path.is_file() for path in made.paths())
    read = synthetic_manifest(tmp_path / "images" / "df-1", "run", {"run": tmp_path})
    assert read.paths() == made.paths()
    assert set(read.table["source"]) == {"synthetic"}
    assert read.table["group_id"].is_unique
    assert read.counts() == {"df": 6}
    digest = read_json(adapter / "adapter.json")["sha256"]
    assert read.table["lineage"][0] == f"{digest[:12]}:{seed_for(0, 'df', 0)}"
    with pytest.raises(DataError, match="does not lie under a root"):
        synthetic_manifest(tmp_path / "images" / "df-1", "run", {"run": tmp_path / "other"})


def test_the_same_call_gives_the_same_bytes_whether_interrupted_or_not(base, tmp_path, monkeypatch):
    draw(base, tmp_path / "whole")

    def stop(done, _count):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(base, tmp_path / "parts", progress=stop)
    assert not (tmp_path / "parts" / "metadata.csv").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts" / "images").iterdir()}
    assert len(kept) == 4
    told = []
    draw(base, tmp_path / "parts", progress=lambda *said: told.append(said))
    assert told == [(6, 6)]
    for path in sorted(p for p in (tmp_path / "whole").rglob("*") if p.is_file()):
        again = tmp_path / "parts" / path.relative_to(tmp_path / "whole")
        assert again.read_bytes() == path.read_bytes()
        assert kept.get(path.name, again.stat().st_mtime_ns) == again.stat().st_mtime_ns
    monkeypatch.setattr("augment.generate.pipeline.load_base", None)  # nothing is missing, so no model is needed
    draw(base, tmp_path / "parts")


def test_images_of_other_inputs_are_not_kept(base, adapter, tmp_path):
    draw(base, tmp_path, count=3)
    first = np.asarray(Image.open(tmp_path / "images" / "df-000000.png"))
    draw(base, tmp_path, adapter, count=2)
    assert len(list((tmp_path / "images").iterdir())) == 2
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "images" / "df-000000.png")), first)
    assert {row["adapter"] for row in rows(tmp_path)} != {"none"}


def test_fewer_images_than_before_leaves_none_unlisted(base, tmp_path):
    draw(base, tmp_path, count=3)
    draw(base, tmp_path, count=2)
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["df-000000.png", "df-000001.png"]


def test_a_writer_that_fails_is_heard(base, tmp_path, monkeypatch):
    def fail(*_given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.ImageWriter, "_write", fail)
    with pytest.raises(OSError, match="No space left"):
        draw(base, tmp_path)
    assert not (tmp_path / "metadata.csv").exists()


def test_bad_input_is_refused_in_words(base, adapter, tmp_path):
    with pytest.raises(ConfigError, match=r"pixels\.size is 20"):
        generate(base, None, "df", PROMPT, 1, 0, CONFIG, tmp_path, 20)
    with pytest.raises(BaseError, match="no finished adapter"):
        draw(base, tmp_path, tmp_path / "nowhere")


KNOWN = [Attributes(site="back", sex="male"), Attributes(age="elderly"), Attributes(site="ear")]


def test_prompts_tell_what_is_known_of_real_images_drawn_by_the_seed(base, tmp_path):
    draw(base, tmp_path / "plain", count=6)
    draw(base, tmp_path / "told", count=6, known=KNOWN)
    told = rows(tmp_path / "told")
    assert {row["prompt"] for row in told} <= {known.added_to(PROMPT) for known in KNOWN}
    assert len({row["prompt"] for row in told}) > 1
    for row in told:
        known = Attributes(site=row["prompt_site"], age=row["prompt_age"], sex=row["prompt_sex"])
        assert row["prompt"] == known.added_to(PROMPT)
    assert "prompt_site" not in rows(tmp_path / "plain")[0]
    assert {row["prompt"] for row in rows(tmp_path / "plain")} == {PROMPT}
    first = (tmp_path / folder / "images" / "df-000000.png" for folder in ("plain", "told"))
    assert len({path.read_bytes() for path in first}) == 2
    assert draw(base, tmp_path / "more", count=7, known=KNOWN).table["prompt"][:6].tolist() == [
        r["prompt"] for r in told
    ]


def test_each_distinct_prompt_is_encoded_once(base, tmp_path, monkeypatch):
    encoded = []
    real = module.sampler.encode
    monkeypatch.setattr(module.sampler, "encode", lambda pipe, prompt: (encoded.append(prompt), real(pipe, prompt))[1])
    draw(base, tmp_path, count=9, known=KNOWN)
    assert sorted(encoded) == sorted({"", *(known.added_to(PROMPT) for known in KNOWN)})


def test_each_images_lineage_tells_the_schedule(base, tmp_path):
    told = ("schedule", "steps", "guidance", "guidance_until")
    draw(base, tmp_path / "quality", count=1)
    first = rows(tmp_path / "quality")[0]
    assert [first[name] for name in told] == ["quality", "2", "2.0", "1.0"]
    made = draw(base, tmp_path / "fast", count=1, config=GenerateConfig(schedule="fast", format="png", batch_size=1))
    second = rows(tmp_path / "fast")[0]
    assert [second[name] for name in told] == ["fast", "10", "2.0", "0.5"]
    assert second["recipe"] != first["recipe"]
    assert made.table["schedule"].tolist() == ["fast"]


def test_classes_that_share_a_wardrobe_load_the_base_once(base, adapter, tmp_path, monkeypatch):
    draw(base, tmp_path / "alone", adapter, count=2)
    shared = Wardrobe(base)
    draw(base, tmp_path / "before", count=1, wardrobe=shared)
    monkeypatch.setattr("augment.generate.pipeline.load_base", None)
    draw(base, tmp_path / "shared", adapter, count=2, wardrobe=shared)
    names = [f"images/df-{index:06d}.png" for index in range(2)]
    assert all((tmp_path / "alone" / n).read_bytes() == (tmp_path / "shared" / n).read_bytes() for n in names)


def test_what_a_distilled_part_has_seen_is_unknown():
    assert module._seen(BaseConfig(), {"group_ids": ["g"]}, others=True)["base"] == "unknown"
    assert "base" not in module._seen(BaseConfig(), {"group_ids": ["g"]})


def test_images_of_other_attributes_are_not_kept(base, tmp_path):
    draw(base, tmp_path, count=2, known=KNOWN)
    before = read_json(tmp_path / "generation.json")
    draw(base, tmp_path, count=2, known=KNOWN[:2])
    assert read_json(tmp_path / "generation.json")["attributes"] != before["attributes"]


def test_the_groups_that_the_base_has_seen_are_of_the_lineage(base, adapter, shots, tmp_path):
    shutil.copytree(base.source, tmp_path / "base")
    seen = {"group_ids": ["g-of-the-base"], "image_ids": ["of-the-base"], "lesion_ids": ["lesion 7"]}
    provenance = {**seen, "patient_ids": [], "is_complete": True}
    record = {"images": 1, "by_class": {}, "groups": 1, "provenance": provenance}
    write_json(tmp_path / "base" / "training.json", record)
    own = dataclasses.replace(base, source=str(tmp_path / "base"))
    draw(own, tmp_path / "out", count=1)
    assert read_json(tmp_path / "out" / "generation.json")["seen"] == {
        "group_ids": ["g-of-the-base"],
        "image_ids": ["of-the-base"],
        "lesion_ids": ["lesion 7"],
        "patient_ids": [],
    }
    seen = module._seen(own, read_json(adapter / "adapter.json")["shots"])
    assert seen["group_ids"] == sorted(["g-of-the-base", *shots["df"].table["group_id"]])
    assert seen["image_ids"] == sorted(["of-the-base", *shots["df"].table["image_id"]])
    shot_record = read_json(adapter / "adapter.json")["shots"]
    assert module._seen(base, shot_record)["base"] == "unknown"
    assert "base" not in module._seen(BaseConfig(), shot_record)  # the embedded base: drawn images
