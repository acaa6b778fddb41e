"""The families: any configuration makes a network that takes images and returns logits."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_configs import config_with
from torch import nn

from hpsearch.models.families import FAMILIES, build_model
from hpsearch.models.head import ACTIVATIONS, POOLINGS, ImageShape, halved, pool, stem_stride
from hpsearch.study.axes import FAMILY_NAMES
from hpsearch.study.config import Activation, Pooling, TrialConfig

BOTH = pytest.mark.parametrize("family", FAMILY_NAMES)


@st.composite
def configs(draw: st.DrawFn) -> TrialConfig:
    """Draw what decides a network, anywhere in the space that a study file may name."""
    return config_with(
        family=draw(st.sampled_from(FAMILY_NAMES)),
        filters=draw(st.integers(1, 2048)),
        layers=draw(st.integers(1, 8)),
        kernel_size=2 * draw(st.integers(0, 7)) + 1,
        units1=draw(st.integers(1, 8192)),
        units2=draw(st.integers(1, 8192)),
        activation=draw(st.sampled_from(get_args(Activation))),
        pooling=draw(st.sampled_from(get_args(Pooling))),
        batch_norm=draw(st.booleans()),
        dropout=draw(st.floats(0, 0.95)),
    )


sides = st.integers(8, 224)
channels = st.sampled_from([1, 3, 4])
image_shapes = st.builds(ImageShape, channels, sides, sides) | st.builds(
    lambda channels, side: ImageShape(channels, side, side), channels, sides
)


@settings(max_examples=120)
@given(configs(), image_shapes, st.integers(1, 200), st.integers(2, 5), st.booleans())
def test_any_network_turns_any_images_into_logits(
    config: TrialConfig, shape: ImageShape, classes: int, n: int, training: bool
) -> None:
    with torch.device("meta"):
        model = build_model(config, shape, classes).train(training)
        logits = model(torch.empty(n, shape.channels, shape.height, shape.width))
    assert logits.shape == (n, classes)


@settings(max_examples=30)
@given(configs(), image_shapes)
def test_one_image_alone_is_enough_to_ask_a_network(config: TrialConfig, shape: ImageShape) -> None:
    with torch.device("meta"):
        model = build_model(config, shape, 10).eval()
        image = torch.empty(1, shape.channels, shape.height, shape.width)
        assert model(image).shape == (1, 10)


def one_step(config: TrialConfig, side: int, classes: int = 10) -> nn.Module:
    """Return a network after one forward and one backward pass on random images."""
    torch.manual_seed(0)
    model = build_model(config, ImageShape(1, side, side), classes)
    images = torch.randn(6, 1, side, side).to(memory_format=torch.channels_last)
    loss = nn.functional.cross_entropy(model(images), torch.arange(6) % classes)
    loss.backward()
    return model


@BOTH
@pytest.mark.parametrize("side", [8, 28])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layers": 8, "filters": 2},
        {"kernel_size": 15, "layers": 1, "pooling": "average", "activation": "elu"},
        {"batch_norm": False, "dropout": 0.0, "activation": "gelu"},
    ],
    ids=["plain", "deep", "large kernel", "no normalisation"],
)
def test_every_weight_of_a_network_learns(family: str, side: int, changes: dict[str, Any]) -> None:
    model = one_step(config_with(family=family, **{"activation": "silu", **changes}), side)
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name


@BOTH
@pytest.mark.parametrize("side", [8, 28])
def test_a_training_batch_of_one_image_does_not_stop_normalisation(family: str, side: int) -> None:
    model = build_model(
        config_with(family=family, layers=8, filters=1), ImageShape(1, side, side), 3
    )
    logits = model.train()(torch.randn(1, 1, side, side))
    assert torch.isfinite(logits).all()


@BOTH
def test_a_few_steps_lower_the_loss(family: str) -> None:
    torch.manual_seed(0)
    model = build_model(config_with(family=family, dropout=0.0), ImageShape(1, 8, 8), 2)
    targets = torch.arange(32) % 2
    images = torch.randn(32, 1, 8, 8) * 0.1 + targets[:, None, None, None]
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@BOTH
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(family: str) -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        model = build_model(config_with(family=family), ImageShape(3, 16, 16), 5)
        return [weight.detach() for weight in model.parameters()]

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@BOTH
def test_asking_a_network_twice_gives_the_same_logits(family: str) -> None:
    model = build_model(config_with(family=family, dropout=0.5), ImageShape(3, 16, 16), 5).eval()
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(model(images), model(images))
    one_by_one = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(model(images), one_by_one)


@BOTH
def test_the_values_of_a_config_decide_the_network(family: str) -> None:
    changes = {
        "filters": 6,
        "layers": 3,
        "kernel_size": 5,
        "units1": 9,
        "units2": 7,
        "activation": "gelu",
        "pooling": "average",
        "batch_norm": False,
        "dropout": 0.3,
    }
    shape = ImageShape(3, 32, 32)
    plain = str(build_model(config_with(family=family), shape, 5))
    networks = {
        str(build_model(config_with(family=family, **{key: value}), shape, 5))
        for key, value in changes.items()
    }
    assert len(networks - {plain}) == len(changes)


def test_the_families_are_different_networks() -> None:
    networks = [str(build_model(config_with(family=f), ImageShape(3, 32, 32), 5)) for f in FAMILIES]
    assert len(set(networks)) == len(FAMILIES)


def test_every_name_that_a_study_file_may_use_has_its_module() -> None:
    assert set(FAMILIES) == set(FAMILY_NAMES)
    assert set(ACTIVATIONS) == set(get_args(Activation))
    assert set(POOLINGS) == set(get_args(Pooling))


@BOTH
def test_dropout_stands_in_the_head(family: str) -> None:
    model = build_model(config_with(family=family, dropout=0.25), ImageShape(1, 8, 8), 3)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("height", "width", "stride"),
    [
        (8, 8, 1),
        (63, 63, 1),
        (64, 64, 2),
        (159, 159, 2),
        (160, 160, 4),
        (224, 224, 4),
        (32, 224, 1),
    ],
)
def test_the_stem_strides_over_large_images(height: int, width: int, stride: int) -> None:
    assert stem_stride(ImageShape(3, height, width)) == stride


@given(st.integers(1, 224), st.integers(1, 224), st.sampled_from(get_args(Pooling)))
def test_pooling_halves_long_axes_and_no_map_vanishes(height: int, width: int, name: str) -> None:
    pooled = pool(name, height, width)(torch.empty(1, 1, height, width, device="meta"))
    assert pooled.shape[2:] == (halved(height), halved(width))
    assert min(pooled.shape) >= 1
    assert halved(height) == (height if height < 4 else height // 2)
