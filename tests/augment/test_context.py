from augment.context import Context
from augment.prompts import PromptConfig
from data.pixels import PixelConfig


def test_decoded_images_are_not_kept_unless_a_folder_is_named():
    assert Context(pixels=PixelConfig(), prompts=PromptConfig(), seed=0).cache is None
