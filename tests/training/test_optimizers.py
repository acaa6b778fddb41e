"""The optimizers move weights exactly as torch's own do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from hpsearch.training.optimizers import Adam, Sgd

Make = Callable[[list[dict[str, object]]], Optimizer]
PAIRS: dict[str, tuple[Make, Make]] = {
    "adam": (
        lambda groups: Adam(groups, 1e-2, decoupled=False),
        lambda groups: torch.optim.Adam(groups, lr=1e-2, fused=True),
    ),
    "adamw": (
        lambda groups: Adam(groups, 1e-2, decoupled=True),
        lambda groups: torch.optim.AdamW(groups, lr=1e-2, fused=True),
    ),
    "sgd": (
        lambda groups: Sgd(groups, 1e-2, 0.9),
        lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9, nesterov=True, fused=True),
    ),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4 * 4 * 4, 3))
    return layers.to(memory_format=torch.channels_last)


def groups_of(model: nn.Module) -> list[dict[str, object]]:
    return [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]


def stepped(model: nn.Module, optimizer: Optimizer, steps: range) -> nn.Module:
    """Train on made batches with a rate that changes, as a schedule changes it."""
    for step in steps:
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 / (1 + step)
        optimizer.zero_grad()
        model(torch.randn(5, 2, 6, 6)).square().sum().backward()
        optimizer.step()
    return model


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", PAIRS)
def test_the_weights_are_torchs_bit_for_bit(name: str) -> None:
    ours, theirs = PAIRS[name]
    mine, reference = network(), network()
    stepped(mine, ours(groups_of(mine)), range(7))
    stepped(reference, theirs(groups_of(reference)), range(7))
    assert not same(mine, network())
    assert same(mine, reference)


@pytest.mark.parametrize("name", PAIRS)
def test_state_goes_over_from_torch_and_back(name: str) -> None:
    ours, theirs = PAIRS[name]
    whole = network()
    stepped(whole, theirs(groups_of(whole)), range(6))

    model = network()
    first = theirs(groups_of(model))
    stepped(model, first, range(2))
    second = ours(groups_of(model))
    second.load_state_dict(first.state_dict())
    stepped(model, second, range(2, 4))
    third = theirs(groups_of(model))
    third.load_state_dict(
        second.state_dict() | {"param_groups": first.state_dict()["param_groups"]}
    )
    stepped(model, third, range(4, 6))
    assert same(model, whole)


@pytest.mark.parametrize("name", PAIRS)
def test_a_parameter_without_a_gradient_stays(name: str) -> None:
    model = network()
    optimizer = PAIRS[name][0](groups_of(model))
    frozen = model[0].weight  # type: ignore[index]
    before = frozen.detach().clone()
    frozen.requires_grad_(False)
    stepped(model, optimizer, range(3))
    assert torch.equal(frozen, before)
    assert not torch.equal(model[2].weight, network()[2].weight)  # type: ignore[index]


def test_a_training_step_does_not_load_torchs_compiler() -> None:
    """It costs a second at the start of every worker, and does nothing here."""
    script = """
import sys, torch
from torch import nn
from hpsearch.training.optimizers import Adam, Sgd
model = nn.Linear(3, 2)
groups = [{"params": model.parameters()}]
for optimizer in (Adam(groups, 0.1, True), Sgd([{"params": model.parameters()}], 0.1, 0.9)):
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    optimizer.zero_grad()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    schedule.step()
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
