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


def test_an_images_seed_is_derived_from_study_label_and_number():
    images = plan_images(RECORD, 3, [], "png")
    assert [image.seed for image in images] == [derive_seed(7, "df", index) for index in range(3)]
    assert images[2].name == "images/df-000002.png"
    assert {image.prompt for image in images} == {RECORD.prompt}


def test_seeds_are_the_numbers_that_they_always_were():
    assert [image.seed for image in plan_images(RECORD, 2, [], "png")] == [13582516014029, 144552187106192]


def test_an_image_is_the_same_however_many_are_planned():
    assert plan_images(RECORD, 9, ATTRIBUTES, "jpg")[:4] == plan_images(RECORD, 4, ATTRIBUTES, "jpg")


def test_each_image_has_the_attributes_of_a_real_one_chosen_by_its_seed():
    images = plan_images(RECORD, 9, ATTRIBUTES, "jpg")
    for image in images:
        assert image.attributes == ATTRIBUTES[derive_seed(image.seed, "attributes") % 3]
        assert image.prompt == image.attributes.added_to(RECORD.prompt)
    assert len({image.prompt for image in images}) > 1
