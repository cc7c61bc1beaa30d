import torch

from augment import device
from augment.diffusion.conditioning import Conditioning, encode_prompt
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.module_trainable import trained_parameters


def noise_pred(trainable):
    latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    embeds = encode_prompt(trainable.pipe, "dermoscopy of a melanoma").expand(2, -1, -1).clone()
    return trainable.denoise(latents, torch.tensor([10, 900]), Conditioning(embeds))


def test_parameters_are_listed_in_one_order(pipe):
    trainable = DreamBoothConfig(text_encoder=True).trainable(pipe, pipe.device)
    assert list(trainable.parameters(0)) == list(trainable.parameters(1)) == list(trained_parameters(trainable.pipe))


def test_each_class_starts_from_the_base_and_keeps_its_own_parameters(pipe):
    trainable = DreamBoothConfig().trainable(pipe, pipe.device)
    first = trainable.parameters(0)
    trainable.bind([first])
    for parameter in first.values():
        parameter.data += 0.1
    moved = noise_pred(trainable)
    second = trainable.parameters(0)
    trainable.bind([second])
    assert all(torch.equal(second[f"unet.{name}"], own) for name, own in pipe.unet.named_parameters())
    assert not torch.allclose(noise_pred(trainable), moved)
    trainable.bind([first])
    assert torch.equal(noise_pred(trainable), moved)


def test_gradients_flow_to_the_bound_class_alone(pipe):
    trainable = DreamBoothConfig().trainable(pipe, pipe.device)
    first, second = trainable.parameters(0), trainable.parameters(0)
    trainable.bind([second])
    noise_pred(trainable).sum().backward()
    assert all(parameter.grad is None for parameter in first.values())
    assert any(parameter.grad.any() for parameter in second.values())


def test_a_compiled_denoiser_follows_from_class_to_class(pipe, monkeypatch):
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **options: real(module, backend="aot_eager", **options))
    monkeypatch.setattr(device, "compiles", lambda _device: True)
    compiled = DreamBoothConfig().trainable(pipe, pipe.device)
    monkeypatch.undo()
    plain = DreamBoothConfig().trainable(pipe, pipe.device)
    for shift in (0.0, 0.05, 0.1):
        for trainable in (compiled, plain):
            parameters = trainable.parameters(0)
            for parameter in parameters.values():
                parameter.data += shift
            trainable.bind([parameters])
        found, expected = noise_pred(compiled), noise_pred(plain)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
        found.sum().backward()
        assert all(parameter.grad is not None for name, parameter in trained_parameters(compiled.pipe).items())
