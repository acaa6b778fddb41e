"""Any point of any family's space: it trains and is exported, or is infeasible with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import optuna
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_configs import PLAIN
from torch import nn

from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.evaluation.model_file import load_model, save_model
from hpsearch.models.cost import cost
from hpsearch.models.families import build_model
from hpsearch.models.layers import ImageShape
from hpsearch.models.limits import infeasible
from hpsearch.study.axes import FAMILY_NAMES
from hpsearch.study.config import (
    Activation,
    Backbone,
    Block,
    Pooling,
    SqueezeWhere,
    TrialConfig,
    Unfreeze,
    has,
)
from hpsearch.study.searching import Search
from hpsearch.study.space import Space
from hpsearch.training.schedules import optimizer_for

MIB = 2**20
LIMITS: dict[str, Any] = {
    "search": Search(max_parameters=30_000_000),
    "memory_bytes": 150 * MIB,
}
CLASSES = 3

ALL_AXES: dict[str, Any] = {
    "filters": {"low": 1, "high": 2048, "log": True},
    "layers": {"low": 1, "high": 8},
    "kernel_size": {"low": 1, "high": 15},
    "units1": {"low": 1, "high": 8192, "log": True},
    "units2": {"low": 1, "high": 8192, "log": True},
    "activation": list(get_args(Activation)),
    "pooling": list(get_args(Pooling)),
    "batch_norm": [True, False],
    "convolutions": {"low": 1, "high": 8},
    "reduction": {"low": 1, "high": 64, "log": True},
    "block": list(get_args(Block)),
    "blocks": {"low": 1, "high": 48, "log": True},
    "squeeze": {"low": 1, "high": 256, "log": True},
    "squeeze_where": list(get_args(SqueezeWhere)),
    "backbone": list(get_args(Backbone)),
    "unfreeze": list(get_args(Unfreeze)),
    "body_rate": {"low": 1e-6, "high": 1, "log": True},
    "dropout": {"low": 0, "high": 0.95},
    "optimizer": ["adam", "adamw", "sgd"],
    "batch_size": {"low": 1, "high": 8},
}

sides = st.integers(8, 224)
shapes = st.one_of(
    st.builds(ImageShape, st.sampled_from([1, 3, 5]), sides, sides),
    st.builds(lambda side: ImageShape(3, side, side), st.sampled_from([8, 28, 32, 64])),
    st.builds(ImageShape, st.sampled_from([1, 70]), st.just(1), st.integers(16, 1014)),
)


def point(family: str, seed: int) -> TrialConfig:
    """Return a random point of the whole space of a family."""
    axes = {name: axis for name, axis in ALL_AXES.items() if has(family, name)}
    space = Space.model_validate({"family": family, **axes})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    own: dict[str, Any] = {"pretrained": {}} if has(family, "pretrained") else {}
    told = {n: PLAIN[n] for n in ("epochs", "seed", "precision", "threads", "data")}
    picked = space.pick_all(study.ask()) | {"loss": "cross-entropy"}
    return TrialConfig(**picked, **own, **told)


def noise(config: TrialConfig, shape: ImageShape) -> SearchData:
    pixels = np.random.default_rng(0).integers(
        0, 256, (config.batch_size, shape.height, shape.width, shape.channels), np.uint8
    )
    images = Labelled(pixels, np.arange(config.batch_size) % CLASSES)
    statistics = ((128.0,) * shape.channels, (74.0,) * shape.channels)
    return SearchData(images, images, "single-label", ("a", "b", "c"), *statistics, "noise")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FAMILY_NAMES), st.integers(0, 2**31), shapes)
def test_any_point_trains_and_is_exported_or_is_infeasible_with_a_reason(
    tmp_path: Path, family: str, seed: int, shape: ImageShape
) -> None:
    config = point(family, seed)
    found = infeasible(cost(config, shape, CLASSES), config, **LIMITS)
    if found is not None:
        assert found.what in ("maps", "parameters", "memory")
        assert found.reason
        return
    torch.manual_seed(0)
    data = noise(config, shape)
    model = build_model(config, shape, CLASSES).to(memory_format=torch.channels_last).train()
    images = torch.from_numpy(data.train.images)
    batch = ((images.float() - 128.0) / 74.0).permute(0, 3, 1, 2)
    optimizer = optimizer_for(config, model)
    nn.functional.cross_entropy(model(batch), torch.from_numpy(data.train.targets)).backward()
    optimizer.step()
    save_model(tmp_path / "model.safetensors", model, config, data)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == config
    with torch.no_grad():
        expected = model.eval()(batch).softmax(1)
    torch.testing.assert_close(
        loaded.probabilities(images), expected, rtol=1e-3, atol=1e-4, equal_nan=True
    )


def test_much_of_each_family_can_be_trained_and_some_cannot() -> None:
    for family in FAMILY_NAMES:
        found = [
            infeasible(
                cost(point(family, seed), ImageShape(3, 32, 32), 3), point(family, seed), **LIMITS
            )
            for seed in range(20)
        ]
        assert 2 <= found.count(None) < 20, family
