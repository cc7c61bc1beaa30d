import torch

from augment.methods.lora_layers import init_lora, lora_delta, lora_keys, lora_shapes, target_layers, target_modules


def test_the_delta_of_a_convolution_is_the_composition_of_its_factors():
    down, up = torch.randn(2, 3, 3, 3), torch.randn(5, 2, 1, 1)
    image = torch.randn(1, 3, 8, 8)
    composed = torch.nn.functional.conv2d(torch.nn.functional.conv2d(image, down), up)
    torch.testing.assert_close(torch.nn.functional.conv2d(image, lora_delta(up, down)), composed)


def test_convolutions_and_text_encoder_are_targets_if_asked_for(pipe):
    attention = target_layers(pipe, target_modules(conv_layers=False, text_encoder=False))
    everything = target_layers(pipe, target_modules(conv_layers=True, text_encoder=True))
    assert attention.keys() < everything.keys()
    assert not any("resnets" in name or "proj_in" in name for name in attention)
    for end in ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "proj_in", "proj_out", "to_out.0", "ff.net.2"):
        assert any(name.endswith(f".{end}") for name in everything), end
    assert any(name.startswith("text_encoder.") for name in everything)
    assert all(pipe.unet.get_submodule(name.removeprefix("unet.")) is layer for name, layer in attention.items())


def test_shapes_multiply_to_the_layers_weight():
    shapes = lora_shapes({"unet.a": (6, 4), "unet.b": (6, 4, 3, 3)}, rank=2)
    for layer, weight in (("unet.a", (6, 4)), ("unet.b", (6, 4, 3, 3))):
        down, up = (torch.zeros(shapes[key]) for key in lora_keys(layer))
        assert lora_delta(up, down).shape == weight


def test_a_starts_from_the_generator_and_b_at_zero():
    first, again = (init_lora("x.lora_A.weight", (2, 3), torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.any()
    assert not init_lora("x.lora_B.weight", (3, 2), torch.Generator()).any()
