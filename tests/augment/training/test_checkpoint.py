import torch
from torch import nn

from augment.training.checkpoint import Checkpoint, Stateful


def parts(seed=0):
    """A layer and its optimizer, after a step."""
    torch.manual_seed(seed)
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    step(layer, optimizer)
    return {"weights": layer, "optimizer": optimizer}


def step(layer, optimizer):
    layer(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_restored_training_continues_as_if_it_had_not_stopped(tmp_path):
    whole, other = parts(0), parts(1)
    assert all(isinstance(part, Stateful) for part in whole.values())
    checkpoint = Checkpoint(tmp_path / "deep" / "c.pt")
    checkpoint.save(7, whole)
    assert checkpoint.restore(other) == 7
    for made in (whole, other):
        step(made["weights"], made["optimizer"])
    assert torch.equal(whole["weights"].weight, other["weights"].weight)
    assert torch.equal(whole["weights"].bias, other["weights"].bias)


def test_without_a_checkpoint_nothing_changes(tmp_path):
    made = parts()
    before = made["weights"].weight.clone()
    assert Checkpoint(tmp_path / "c.pt").restore(made) == 0
    assert torch.equal(made["weights"].weight, before)
