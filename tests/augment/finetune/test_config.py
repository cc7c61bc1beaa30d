import dataclasses

import pytest
from pydantic.dataclasses import dataclass

from augment.diffusion.sample import SamplerConfig
from augment.finetune.config import FinetuneConfig, result_settings
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.lora import LoraConfig
from augment.methods.table import METHODS
from data.config import STRICT, parse, to_dict
from data.errors import ConfigError

# settings that change no result beyond rounding, and those that do
NO_EFFECT = {
    "max_classes_per_batch": 2,
    "gradient_accumulation_steps": 4,
    "gradient_checkpointing": True,
    "cpu_offload": True,
    "checkpointing_steps": 50,
    "preview_prompt": "dermoscopy of a (blue:1.2) [name]",
    "held_out_every": 25,
}
RESULT = {
    "steps": 401,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "lr_warmup_steps": 21,
    "weight_decay": 0.02,
    "max_grad_norm": 2.0,
    "rank": 8,
    "vectors": 4,
    "init_word": "mole",
    "layer_structure": (1, 2, 2, 1),
    "activation": "relu",
    "layer_norm": True,
    "dropout": 0.1,
    "weight_init": "xavier-normal",
    "condition": "canny",
    "conv_layers": False,
    "text_encoder": True,
    "dihedral": False,
    "caption_dropout": 0.1,
    "min_snr_gamma": 5.0,
    "num_class_images": 65,
    "prior_loss_weight": 0.5,
    "preview_every": 50,
    "preview": SamplerConfig(steps=13),
    "optimizer": "adamw-8bit",
    "select_every": 10,
    "select_images": 16,
    "select_shots": 4,
    "patience": 2,
}
OF_THEIR_OWN = {"method", "init_lora", "masks"}  # each has a test
OF_A_CHOICE = ("select_images", "select_shots", "patience")  # no settings of a fine-tune whose last step is kept


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Study:
    finetune: FinetuneConfig = LoraConfig()


def changed(name, value):
    """The default settings of a method that has this one, and the same with this one changed."""
    own = {field.name: method for method in METHODS.values() for field in dataclasses.fields(method)}
    method = LoraConfig if name in {field.name for field in dataclasses.fields(LoraConfig)} else own[name]
    others = {"select_every": 5} if name in OF_A_CHOICE else {}
    return method(**others), method(**others, **{name: value})


def test_every_setting_is_known_to_change_the_result_or_not_to():
    names = {field.name for method in METHODS.values() for field in dataclasses.fields(method)}
    assert not NO_EFFECT.keys() & RESULT.keys()
    assert names == NO_EFFECT.keys() | RESULT.keys() | OF_THEIR_OWN, "add a new setting to one of the two here"


@pytest.mark.parametrize("name", NO_EFFECT)
def test_no_adapter_is_trained_again_for_what_only_changes_speed(name):
    default, other = changed(name, NO_EFFECT[name])
    assert default != other
    assert result_settings(default) == result_settings(other)


@pytest.mark.parametrize("name", RESULT)
def test_an_adapter_is_trained_again_for_what_changes_the_result(name):
    default, other = changed(name, RESULT[name])
    assert result_settings(default) != result_settings(other)
    assert result_settings(other)[name] == to_dict(other)[name]


def test_the_choice_of_a_step_is_no_setting_of_a_fine_tune_that_makes_none():
    assert not {"select_every", *OF_A_CHOICE} & result_settings(LoraConfig(select_images=16)).keys()


def test_a_file_to_start_from_stands_for_itself_wherever_it_lies(tmp_path):
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    for file, content in zip(files, (b"one", b"one", b"other"), strict=True):
        file.write_bytes(content)
    one, same, other = (result_settings(LoraConfig(init_lora=str(file))) for file in files)
    assert one == same != other
    assert "init_lora" not in result_settings(LoraConfig())  # finished adapters stay what they are
    with pytest.raises(ConfigError, match=r"finetune\.init_lora: nowhere: no such file; name"):
        result_settings(LoraConfig(init_lora="nowhere"))


def test_the_method_is_a_result_setting():
    assert result_settings(LoraConfig())["method"] == "lora"
    assert result_settings(DreamBoothConfig())["method"] == "dreambooth"


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({}, LoraConfig()),
        ({"rank": 4}, LoraConfig(rank=4)),
        ({"method": "lora"}, LoraConfig()),
        ({"method": "dreambooth", "num_class_images": 0}, DreamBoothConfig(num_class_images=0)),
    ],
)
def test_the_section_is_the_method_s_and_lora_s_by_default(section, expected):
    study = parse(Study, {"finetune": section}, "study.yaml")
    assert study.finetune == expected
    assert type(study.finetune) is type(expected)
    assert parse(Study, to_dict(study), "study.yaml") == study
    assert Study(finetune=expected).finetune is expected


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"rnak": 4}, "finetune.rnak: unknown key; did you mean 'rank'?"),
        ({"method": "dreambooth", "num_class_image": 4}, "unknown key; did you mean 'num_class_images'?"),
        ({"preview": {"stpes": 4}}, "finetune.preview.stpes: unknown key; did you mean 'steps'?"),
        ({"clip": 2.0}, "finetune.clip: unknown key; it is called finetune.max_grad_norm now"),
        ({"rank": 0}, "finetune.rank: Input should be greater than or equal to 1, got 0"),
        (
            {"method": "dream"},
            "finetune.method: must be one of 'lora', 'dreambooth', 'loha', 'lokr', 'textual-inversion', 'hypernetwork'",
        ),
        ({"method": ["lora"]}, "finetune.method: must be one of 'lora', 'dreambooth'"),
        ({"batch_size": 6, "gradient_accumulation_steps": 4}, "finetune: gradient_accumulation_steps is 4, which does"),
        ({"patience": 2}, "finetune: patience and select_shots need select_every"),
        ({"select_shots": 4}, "finetune: patience and select_shots need select_every"),
        (None, "finetune: "),
        (3, "finetune: "),
    ],
)
def test_an_error_names_the_key_and_the_nearest_right_one(section, message):
    with pytest.raises(ConfigError) as error:
        parse(Study, {"finetune": section}, "study.yaml")
    assert message in str(error.value)


def test_a_setting_of_another_method_is_unknown():
    with pytest.raises(ConfigError, match=r"^study.yaml: finetune\.rank: unknown key"):
        parse(Study, {"finetune": {"method": "dreambooth", "rank": 4}}, "study.yaml")
    with pytest.raises(ConfigError, match=r"^study.yaml: finetune\.num_class_images: unknown key"):
        parse(Study, {"finetune": {"num_class_images": 4}}, "study.yaml")


def test_masks_count_by_their_files_and_not_by_their_folder():
    assert result_settings(METHODS["controlnet"](masks="one")) == result_settings(METHODS["controlnet"](masks="other"))
