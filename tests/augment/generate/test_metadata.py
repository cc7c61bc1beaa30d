import csv
import dataclasses

from augment.generate.metadata import metadata_csv
from augment.generate.planned_images import plan_images
from augment.generate.record import GeneratedImages
from augment.prompts import Attributes
from data.splits.provenance import Provenance
from data.store import derive_seed

ATTRIBUTES = [Attributes(site="back", sex="male"), Attributes(age="elderly"), Attributes(site="ear")]
RECORD = GeneratedImages(
    label="df",
    prompt="dermoscopy of a dermatofibroma",
    adapter="none",
    base={"source": "tiny", "sha256": "b" * 64},
    seed=7,
    size=64,
    batch_size=4,
    sampler="dpmsolver++2m",
    settings={"preset": "fast", "steps": 10, "guidance_scale": 2.0, "guidance_end": 0.5, "negative_prompt": "hair"},
    attributes=None,
    provenance=Provenance(),
)


def rows(record, images):
    return list(csv.DictReader(metadata_csv(record, images).splitlines()))


def test_a_row_has_its_file_first_and_tells_how_the_image_was_generated():
    row = rows(RECORD, plan_images(RECORD, 1, [], "png"))[0]
    assert list(row.items()) == [
        ("file_name", "images/df-000000.png"),
        ("label", "df"),
        ("adapter", "none"),
        ("base", "tiny@bbbbbbbbbbbb"),
        ("prompt", RECORD.prompt),
        ("negative_prompt", "hair"),
        ("preset", "fast"),
        ("steps", "10"),
        ("guidance_scale", "2.0"),
        ("guidance_end", "0.5"),
        ("sampler", "dpmsolver++2m"),
        ("settings", RECORD.digest()[:12]),
        ("seed", str(derive_seed(7, "df", 0))),
    ]


def test_attributes_are_columns_where_prompts_have_them():
    images = plan_images(RECORD, 4, ATTRIBUTES, "png")
    for row, image in zip(rows(RECORD, images), images, strict=True):
        named = Attributes(**{field.name: row[f"prompt_{field.name}"] for field in dataclasses.fields(Attributes)})
        assert named == image.attributes
        assert row["prompt"] == named.added_to(RECORD.prompt)


def test_no_images_make_a_table_of_no_rows():
    header, *others = metadata_csv(RECORD, []).splitlines()
    assert header == metadata_csv(RECORD, plan_images(RECORD, 1, [], "png")).splitlines()[0]
    assert others == []
