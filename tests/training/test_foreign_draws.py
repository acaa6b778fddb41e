"""A training's randomness is its own: nobody disturbs it, and it disturbs nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from foreign_draws import at_every_ask, from_a_thread, global_states
from made_trainings import CPU, after, config, scores_of
from torchvision.models import get_model, get_model_weights

from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.study.config import Family, TrialConfig
from hpsearch.training.loop import Interrupted, never, train
from hpsearch.training.precision import faster_precision
from hpsearch.training.probe import epoch_s
from hpsearch.training.state import from_bytes, to_bytes

BUILT = sorted(set(get_args(Family)) - {"pretrained"})
BACKBONES = ["resnet18", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny"]

Trained = tuple[list[tuple[float, ...]], dict[str, torch.Tensor]]


def trained(
    settings: TrialConfig,
    data: SearchData,
    interrupted: Callable[[], bool] = never,
    state: Any = None,
) -> Trained:
    curve = []
    for epoch, training in train(settings, data, CPU, interrupted, state):  # noqa: B007
        curve.append(scores_of(epoch))
    return curve, training.model.state_dict()


def resumed(settings: TrialConfig, data: SearchData, stops: list[int]) -> Trained:
    """Train with interruptions, the state kept as bytes, while others draw at every batch."""
    state = None
    for number, asks in enumerate(stops):
        with pytest.raises(Interrupted) as asked:
            trained(settings, data, at_every_ask(after(asks), seed=number), state)
        state = from_bytes(to_bytes(asked.value.training.state()), CPU)
    return trained(settings, data, at_every_ask(seed=99), state)


def assert_same(got: Trained, expected: Trained) -> None:
    assert got[0] == expected[0]
    for name, weight in expected[1].items():
        assert torch.equal(got[1][name], weight), name


@pytest.mark.parametrize("family", BUILT)
def test_nobody_else_changes_a_curve_by_drawing(family: str, stripes: SearchData) -> None:
    settings = config(family=family, dropout=0.4)
    expected = trained(settings, stripes)
    assert_same(trained(settings, stripes, at_every_ask()), expected)
    assert_same(resumed(settings, stripes, [3, 14, 7]), expected)
    with from_a_thread():
        assert_same(trained(settings, stripes), expected)


@pytest.mark.parametrize("family", BUILT)
def test_a_training_leaves_what_others_draw_from_alone(family: str, stripes: SearchData) -> None:
    torch.manual_seed(987654321)
    before = global_states()
    trained(config(family=family, dropout=0.4), stripes)
    resumed_state = None
    with pytest.raises(Interrupted) as asked:
        trained(config(family=family), stripes, after(13))
    resumed_state = from_bytes(to_bytes(asked.value.training.state()), CPU)
    trained(config(family=family), stripes, state=resumed_state)
    assert global_states() == before


def test_measuring_leaves_what_others_draw_from_alone(
    stripes: SearchData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path))  # no answer is kept there
    before = global_states()
    faster_precision("auto", stripes, CPU)
    epoch_s(config(), stripes, CPU)
    assert global_states() == before


@pytest.fixture(scope="module")
def colours() -> SearchData:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    images = Labelled(pixels, np.arange(16) % 2)
    return SearchData(
        train=images,
        test=images,
        task="single-label",
        outputs=("a", "b"),
        mean=(100.0, 120.0, 90.0),
        std=(50.0, 60.0, 70.0),
        fingerprint="colours",
    )


@pytest.mark.parametrize("backbone", BACKBONES)
def test_nobody_else_changes_the_curve_of_a_pretrained_network(
    backbone: str, colours: SearchData, tmp_path: Path
) -> None:
    url = get_model_weights(backbone).DEFAULT.url
    torch.save(get_model(backbone, weights=None).state_dict(), tmp_path / url.rsplit("/", 1)[1])
    settings = config(
        family="pretrained",
        backbone=backbone,
        unfreeze="all",
        pretrained={"weights": str(tmp_path)},
        dropout=0.4,
        batch_size=8,
        epochs=2,
    )
    before = global_states()
    expected = trained(settings, colours)
    assert global_states() == before
    assert_same(trained(settings, colours, at_every_ask()), expected)
    assert_same(resumed(settings, colours, [1, 2]), expected)


def test_dropout_is_at_work_and_depends_on_the_seed(stripes: SearchData) -> None:
    curves = [
        trained(config(dropout=dropout, flip=False, shift=0), stripes)[0]
        for dropout in (0.0, 0.4, 0.4)
    ]
    assert curves[0] != curves[1] == curves[2]
