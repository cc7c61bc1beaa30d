import csv
import dataclasses
import gc
import shutil

import datasets
import numpy as np
import pytest
from PIL import Image

from augment.base.identity import base_identity
from augment.context import Context
from augment.finetune.run import finetune
from augment.generate import run as module
from augment.generate.config import GenerateConfig
from augment.generate.few_step import FewStepConfig
from augment.generate.pipeline import AdapterPipeline
from augment.generate.record import GeneratedImages
from augment.generate.run import ImageRequest, generate, generated_image_bytes, synthetic_manifest
from augment.methods.lora import LoraConfig
from augment.methods.record import AdapterRecord, Stopped
from augment.prompts import DEFAULT, Attributes, prompt_for
from data.errors import BaseError, ConfigError, DataError
from data.pixels import PixelConfig
from data.splits.provenance import Provenance
from data.store import derive_seed

CONFIG = GenerateConfig(steps=2, batch_size=4, format="png")
PROMPT = prompt_for("df")


@pytest.fixture(scope="module")
def adapter(base, shots, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    config = LoraConfig(steps=2, batch_size=2, rank=2, learning_rate=1e-2, preview_every=0)
    context = Context(pixels=PixelConfig(size=32), prompts=DEFAULT, seed=0)
    list(finetune(base=base, shots={"df": shots["df"]}, config=config, out={"df": folder}, context=context))
    return folder


def request(**changes):
    return dataclasses.replace(ImageRequest(label="df", prompt=PROMPT, count=6, seed=0, size=32), **changes)


def run(base, out, config=CONFIG, progress=None, **changes):
    pipeline = base if isinstance(base, AdapterPipeline) else AdapterPipeline(base)
    return generate(pipeline=pipeline, request=request(**changes), config=config, out=out, progress=progress)


def rows(out):
    with (out / "metadata.csv").open() as file:
        return list(csv.DictReader(file))


# datasets leaves the CSV open for the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_datasets_reads_the_folder_as_images_with_their_metadata(base, adapter, tmp_path):
    config = dataclasses.replace(CONFIG, negative_prompt="hair", format="jpg")
    run(base, tmp_path / "out", config, adapter=adapter)
    read = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert len(read["train"]) == 6
    first = read["train"][0]
    assert first["image"].size == (32, 32)
    assert first["label"] == "df"
    assert first["adapter"] == AdapterRecord.read(adapter).sha256
    assert (first["prompt"], first["negative_prompt"]) == (PROMPT, "hair")
    assert (first["steps"], first["guidance_scale"], first["sampler"]) == (2, 2.0, "dpmsolver++2m")
    assert {row["seed"] for row in read["train"]} == {derive_seed(0, "df", index) for index in range(6)}
    del read
    gc.collect()


def test_the_record_says_what_the_images_were_generated_from(base, adapter, tmp_path):
    run(base, tmp_path, adapter=adapter)
    record = GeneratedImages.read(tmp_path)
    assert (record.label, record.prompt, record.seed, record.size, record.batch_size) == ("df", PROMPT, 0, 32, 4)
    assert record.base == base_identity(base)
    assert record.adapter == AdapterRecord.read(adapter).sha256
    assert record.settings == CONFIG.result_settings()
    assert {row["settings"] for row in rows(tmp_path)} == {record.digest()[:12]}


def test_a_named_sampler_is_recorded_with_its_spacing(base, tmp_path):
    run(base, tmp_path, dataclasses.replace(CONFIG, sampler="Euler Karras"))
    record = GeneratedImages.read(tmp_path)
    assert record.sampler == "euler-karras"
    assert (record.settings["sampler"], record.settings["sigmas"]) == ("euler", "karras")
    assert {row["sampler"] for row in rows(tmp_path)} == {"euler-karras"}


def test_the_manifest_reads_back_as_synthetic(base, adapter, tmp_path):
    made = run(base, tmp_path / "images" / "df-1", adapter=adapter)
    assert len(made) == 6
    assert all(path.is_file() for path in made.paths())
    read = synthetic_manifest(tmp_path / "images" / "df-1", "run", {"run": tmp_path})
    assert read.paths() == made.paths()
    assert set(read.table["source"]) == {"synthetic"}
    assert read.table["group_id"].is_unique
    assert read.counts() == {"df": 6}
    assert read.table["lineage"][0] == f"{AdapterRecord.read(adapter).sha256[:12]}:{derive_seed(0, 'df', 0)}"
    assert read.table["preset"].tolist() == ["quality"] * 6
    with pytest.raises(DataError, match="is not under a root"):
        synthetic_manifest(tmp_path / "images" / "df-1", "run", {"run": tmp_path / "other"})


def test_the_same_call_gives_the_same_bytes_whether_interrupted_or_not(base, tmp_path, monkeypatch):
    run(base, tmp_path / "whole")

    def stop(done, _count):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path / "parts", progress=stop)
    assert not (tmp_path / "parts" / "metadata.csv").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts" / "images").iterdir()}
    assert len(kept) == 4
    reported = []
    run(base, tmp_path / "parts", progress=lambda *progress: reported.append(progress))
    assert reported == [(6, 6)]
    for path in sorted(p for p in (tmp_path / "whole").rglob("*") if p.is_file()):
        again = tmp_path / "parts" / path.relative_to(tmp_path / "whole")
        assert again.read_bytes() == path.read_bytes()
        assert kept.get(path.name, again.stat().st_mtime_ns) == again.stat().st_mtime_ns
    monkeypatch.setattr("augment.generate.pipeline.load_base", None)  # nothing is missing, so no model is needed
    run(base, tmp_path / "parts")


def test_images_of_other_inputs_are_not_kept(base, adapter, tmp_path):
    run(base, tmp_path, count=3)
    first = np.asarray(Image.open(tmp_path / "images" / "df-000000.png"))
    run(base, tmp_path, adapter=adapter, count=2)
    assert len(list((tmp_path / "images").iterdir())) == 2
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "images" / "df-000000.png")), first)
    assert {row["adapter"] for row in rows(tmp_path)} != {"none"}


def test_fewer_images_than_before_leaves_none_unlisted(base, tmp_path):
    run(base, tmp_path, count=3)
    run(base, tmp_path, count=2)
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["df-000000.png", "df-000001.png"]


def test_a_failure_to_write_is_raised(base, tmp_path, monkeypatch):
    def fail(*_given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.ImageWriter, "_write", fail)
    with pytest.raises(OSError, match="No space left"):
        run(base, tmp_path)
    assert not (tmp_path / "metadata.csv").exists()


def test_bad_input_is_refused_in_words(base, tmp_path):
    with pytest.raises(ConfigError, match=r"pixels\.size is 20"):
        run(base, tmp_path, size=20, count=1)
    with pytest.raises(BaseError, match="no finished adapter"):
        run(base, tmp_path, adapter=tmp_path / "nowhere")


ATTRIBUTES = (Attributes(site="back", sex="male"), Attributes(age="elderly"), Attributes(site="ear"))


def test_prompts_name_the_attributes_of_real_images(base, tmp_path):
    run(base, tmp_path / "class")
    run(base, tmp_path / "attributes", attributes=ATTRIBUTES)
    found = [row["prompt"] for row in rows(tmp_path / "attributes")]
    assert set(found) <= {attributes.added_to(PROMPT) for attributes in ATTRIBUTES}
    assert len(set(found)) > 1
    assert "prompt_site" not in rows(tmp_path / "class")[0]
    assert {row["prompt"] for row in rows(tmp_path / "class")} == {PROMPT}
    first = (tmp_path / folder / "images" / "df-000000.png" for folder in ("class", "attributes"))
    assert len({path.read_bytes() for path in first}) == 2
    more = run(base, tmp_path / "more", count=7, attributes=ATTRIBUTES)
    assert more.table["prompt"][:6].tolist() == found


def test_a_classs_negative_prompt_and_emphasis_are_in_its_metadata_where_they_are_set(base, tmp_path):
    config = dataclasses.replace(CONFIG, negative_prompts={"df": "ruler", "mel": "hair"}, emphasis="webui-mean")
    run(base, tmp_path, config, count=1, prompt="dermoscopy of a (dermatofibroma:1.5), [filewords]")
    (row,) = rows(tmp_path)
    assert (row["negative_prompt"], row["emphasis"]) == ("ruler", "webui-mean")
    assert row["prompt"] == "dermoscopy of a (dermatofibroma:1.5)"
    settings = GeneratedImages.read(tmp_path).settings
    assert settings == {**CONFIG.result_settings(), "negative_prompt": "ruler", "emphasis": "webui-mean"}
    run(base, tmp_path, CONFIG, count=1)
    assert "emphasis" not in rows(tmp_path)[0]


def test_images_of_other_attributes_are_not_kept(base, tmp_path):
    run(base, tmp_path, count=2, attributes=ATTRIBUTES)
    before = GeneratedImages.read(tmp_path)
    run(base, tmp_path, count=2, attributes=ATTRIBUTES[:2])
    assert GeneratedImages.read(tmp_path).attributes != before.attributes


def test_each_images_metadata_has_what_the_preset_means(base, tmp_path):
    names = ("preset", "steps", "guidance_scale", "guidance_end")
    run(base, tmp_path / "quality", count=1)
    first = rows(tmp_path / "quality")[0]
    assert [first[name] for name in names] == ["quality", "2", "2.0", "1.0"]
    made = run(base, tmp_path / "fast", GenerateConfig(preset="fast", format="png", batch_size=1), count=1)
    second = rows(tmp_path / "fast")[0]
    assert [second[name] for name in names] == ["fast", "10", "2.0", "0.5"]
    assert second["settings"] != first["settings"]
    assert made.table["preset"].tolist() == ["fast"]


def test_classes_that_share_a_pipeline_load_the_base_once(base, adapter, tmp_path, monkeypatch):
    run(base, tmp_path / "alone", adapter=adapter, count=2)
    pipeline = AdapterPipeline(base)
    run(pipeline, tmp_path / "before", count=1)
    monkeypatch.setattr("augment.generate.pipeline.load_base", None)
    run(pipeline, tmp_path / "shared", adapter=adapter, count=2)
    names = [f"images/df-{index:06d}.png" for index in range(2)]
    assert all((tmp_path / "alone" / n).read_bytes() == (tmp_path / "shared" / n).read_bytes() for n in names)


OF_BASE = Provenance(group_ids=frozenset({"g-of-the-base"}), lesion_ids=frozenset({"lesion 7"}))


def provenance(base, out, config=CONFIG, **changes):
    run(base, out, config, count=0, **changes)
    return GeneratedImages.read(out).provenance


@pytest.mark.parametrize("of_base", [OF_BASE, Provenance.unknown()], ids=["known base", "unknown base"])
def test_provenance_is_that_of_adapter_and_base(base, adapter, shots, tmp_path, monkeypatch, of_base):
    monkeypatch.setattr(module, "base_provenance", lambda _base: of_base)
    assert provenance(base, tmp_path / "base") == of_base
    assert provenance(base, tmp_path / "adapter", adapter=adapter) == of_base | Provenance.of(shots["df"])


def test_provenance_is_not_complete_with_distilled_parts(base, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "base_provenance", lambda _base: OF_BASE)
    monkeypatch.setattr(FewStepConfig, "identity", lambda _self: {})
    monkeypatch.setattr("augment.generate.config.taesd_identity", lambda _folder: "t")
    few_step = GenerateConfig(preset="few-step", few_step=FewStepConfig(lora="lcm.safetensors"))
    for name, config in (("few-step", few_step), ("taesd", dataclasses.replace(CONFIG, taesd="folder"))):
        assert provenance(base, tmp_path / name, config) == dataclasses.replace(OF_BASE, is_complete=False)


@pytest.mark.parametrize(("file_format", "jpeg_quality"), [("png", 95), ("jpg", 95), ("jpg", 100)])
def test_no_image_takes_more_bytes_than_estimated_not_even_noise(tmp_path, file_format, jpeg_quality):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    with module.ImageWriter(tmp_path, file_format, jpeg_quality, max_pending=1) as writer:
        writer.add("noise", noise)
    config = GenerateConfig(format=file_format, jpeg_quality=jpeg_quality)
    assert (tmp_path / "noise").stat().st_size <= generated_image_bytes(config, 256)


def test_estimated_bytes_by_hand():
    assert generated_image_bytes(GenerateConfig(), 64) == 64 * 64 * 3 + 6144
    assert generated_image_bytes(GenerateConfig(jpeg_quality=96), 64) == 64 * 64 * 3 * 3 // 2 + 6144


def test_images_of_an_adapter_that_was_stopped_by_request_say_so(base, adapter, tmp_path):
    run(base, tmp_path / "whole", adapter=adapter, count=1)
    assert GeneratedImages.read(tmp_path / "whole").stopped is None
    shutil.copytree(adapter, tmp_path / "adapter")
    dataclasses.replace(AdapterRecord.read(adapter), stopped=Stopped(step=2, of=5)).write(tmp_path / "adapter")
    run(base, tmp_path / "stopped", adapter=tmp_path / "adapter", count=1)
    assert GeneratedImages.read(tmp_path / "stopped").stopped == {"step": 2, "of": 5}
