import pytest
import torch
from safetensors.torch import load_file, save_file

from augment.methods.hypernetwork_files import read_hypernetwork, write_hypernetwork, write_webui_hypernetwork
from augment.methods.hypernetwork_layers import HypernetworkModule, HypernetworkShape
from data.errors import BaseError

SHAPES = [
    HypernetworkShape(),
    HypernetworkShape(layer_structure=(1, 1.5, 2, 1), activation="relu", layer_norm=True, dropout=(0, 0.2, 0.2, 0)),
    HypernetworkShape(activation="tanh", activate_output=True),
]


def tensors_of(shape, widths=(8, 16)):
    generator = torch.Generator().manual_seed(0)
    return {
        f"{width}.{kind}.{name}": torch.randn(parameter.shape, generator=generator)
        for width in widths
        for kind in "kv"
        for name, parameter in HypernetworkModule(width, shape).named_parameters()
    }


def equal(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], each) for name, each in expected.items())


@pytest.mark.parametrize("shape", SHAPES)
def test_either_form_comes_back_to_the_bit(tmp_path, shape):
    tensors = tensors_of(shape)
    for path in (
        write_hypernetwork(tensors, shape, tmp_path / "a.safetensors"),
        write_webui_hypernetwork(tensors, shape, tmp_path / "a.pt", step=3, checkpoint="tiny"),
    ):
        found_shape, found = read_hypernetwork(path)
        assert found_shape == shape
        assert equal(found, tensors)


def test_the_file_is_the_same_bytes_again(tmp_path):
    tensors = tensors_of(SHAPES[0])
    one, other = (write_hypernetwork(tensors, SHAPES[0], tmp_path / name) for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_the_web_ui_s_file_has_what_the_web_ui_reads(tmp_path):
    tensors = tensors_of(SHAPES[0], widths=(8,))
    path = write_webui_hypernetwork(tensors, SHAPES[0], tmp_path / "name.pt", step=3, checkpoint="tiny")
    values = torch.load(path, weights_only=True)
    keys, values_of_v = values.pop(8)
    assert equal(keys, {name.removeprefix("8.k."): each for name, each in tensors.items() if ".k." in name})
    assert equal(values_of_v, {name.removeprefix("8.v."): each for name, each in tensors.items() if ".v." in name})
    assert values == {
        "step": 3, "name": "name", "layer_structure": [1, 2, 1], "activation_func": "linear", "is_layer_norm": False,
        "sd_checkpoint": None, "sd_checkpoint_name": "tiny", "activate_output": False, "use_dropout": False,
        "dropout_structure": [0.0, 0.0, 0.0], "last_layer_dropout": False, "optional_info": None,
    }  # fmt: skip


def test_what_an_older_file_lacks_is_the_web_ui_s_default(tmp_path):
    tensors = tensors_of(SHAPES[0], widths=(8,))
    old = tuple(
        {
            name.removeprefix(f"8.{kind}.").replace("linear.1.", "linear2.").replace("linear.0.", "linear1."): each
            for name, each in tensors.items()
            if f".{kind}." in name
        }
        for kind in "kv"
    )
    torch.save({8: old, "step": 1, "name": "old"}, tmp_path / "old.pt")
    shape, found = read_hypernetwork(tmp_path / "old.pt")
    assert shape == HypernetworkShape(activate_output=True)
    assert equal(found, tensors)


def test_dropout_that_is_only_named_is_placed_as_the_web_ui_places_it(tmp_path):
    shape = HypernetworkShape(layer_structure=(1, 2, 2, 1), dropout=(0, 0.3, 0, 0))
    path = write_webui_hypernetwork(tensors_of(shape), shape, tmp_path / "a.pt")
    values = torch.load(path, weights_only=True)
    torch.save({**values, "dropout_structure": None}, path)
    assert read_hypernetwork(path)[0].dropout == (0, 0.3, 0, 0)


def spoil_value(tensors):
    tensors["8.k.linear.0.weight"][0, 0] = torch.nan


def spoil_shape(tensors):
    tensors["8.k.linear.0.weight"] = torch.zeros(2, 3)


def spoil_key(tensors):
    tensors["8.k.linear.7.weight"] = tensors.pop("8.k.linear.0.weight")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(spoil_value, "not finite"), (spoil_shape, "has the shape"), (spoil_key, "1 of .* missing and 1 too many")],
)
def test_weights_that_do_not_fit_their_shape_are_refused(tmp_path, spoil, message):
    tensors = tensors_of(SHAPES[0])
    spoil(tensors)
    for path in (
        write_hypernetwork(tensors, SHAPES[0], tmp_path / "a.safetensors"),
        write_webui_hypernetwork(tensors, SHAPES[0], tmp_path / "a.pt"),
    ):
        with pytest.raises(BaseError, match=message):
            read_hypernetwork(path)


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def test_what_is_no_hypernetwork_is_refused(tmp_path, capsys):
    torch.save({8: Harmful()}, tmp_path / "code.pt")
    torch.save({"step": 1}, tmp_path / "empty.pt")
    torch.save([1], tmp_path / "list.pt")
    torch.save({8: ({"linear.0.weight": 1}, {}), "activation_func": "GELU"}, tmp_path / "gelu.pt")
    save_file({"a": torch.zeros(1)}, tmp_path / "lora.safetensors")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(BaseError, match="could run code"):
        read_hypernetwork(tmp_path / "code.pt")
    for name in ("empty.pt", "list.pt", "gelu.pt", "lora.safetensors", "broken.pt", "missing.pt"):
        with pytest.raises(BaseError, match="cannot be read as a hypernetwork"):
            read_hypernetwork(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_the_safetensors_names_its_layers_by_width(tmp_path):
    path = write_hypernetwork(tensors_of(SHAPES[0]), SHAPES[0], tmp_path / "a.safetensors")
    assert "16.v.linear.1.bias" in load_file(path)
