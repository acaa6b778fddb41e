"""A model in a file: asked in the right way it answers, asked in another or spoilt it says so."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from made_configs import config_with
from numpy.typing import NDArray
from safetensors.torch import load, save

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.errors import HpsearchError
from hpsearch.evaluation.model_file import TrainedModel, load_model, save_model
from hpsearch.models.families import initial_model
from hpsearch.study.data import Data

SLOWEST_S, MOST_KIB = 1.0, 100 * 1024


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of an untrained network for digits of 8 x 8 pixels."""
    data = load_search_data(prepare(Data(source="digits")).folder)
    config = config_with(filters=8, layers=1, units1=8, units2=8)
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save_model(path, initial_model(config, data).eval(), config, data)
    return path


@pytest.fixture(scope="module")
def trained(whole: Path) -> TrainedModel:
    return load_model(whole)


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)


def test_a_path_may_be_text(whole: Path) -> None:
    assert load_model(str(whole)).outputs == load_model(whole).outputs


def test_arrays_of_numpy_and_torch_are_answered_alike(
    trained: TrainedModel, images: NDArray[np.uint8]
) -> None:
    told = trained.probabilities(torch.from_numpy(images))
    assert torch.equal(trained.probabilities(images), told)
    read_only = images[::-1].copy()[::-1]
    read_only.flags.writeable = False
    assert torch.equal(trained.probabilities(read_only), told)
    assert torch.allclose(told.sum(1), torch.ones(5))


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda x: x / 255,
        lambda x: (x / 255).astype(np.float32),
        lambda x: torch.from_numpy(x).float(),
        lambda x: x.astype(np.int64),
        lambda x: torch.from_numpy(x).long(),
        lambda x: x > 3,
        lambda x: x.astype(np.int8),
        lambda x: x[..., 0],
        lambda x: x[0],
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: x.repeat(3, axis=3),
        lambda x: x.repeat(2, axis=1),
        lambda x: x[:, :4],
        lambda x: x[:0],
        lambda x: x[None],
        lambda x: x.tolist(),
        lambda x: None,
        lambda x: x.astype(object),
    ],
)
def test_images_of_another_kind_are_refused_with_what_is_wanted_and_what_was_given(
    trained: TrainedModel, images: NDArray[np.uint8], spoilt: Any
) -> None:
    wanted = r"expected images, uint8 \(N, height, width, channels\) of 8 x 8 x 1.*; got "
    with pytest.raises(HpsearchError, match=wanted):
        trained.probabilities(spoilt(images))


def about(whole: Path) -> dict[str, str]:
    """Return the metadata of a model file, as it is written in the file's head."""
    raw = whole.read_bytes()
    head = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    found: dict[str, str] = head["__metadata__"]
    return found


def config_but(whole: Path, **changes: Any) -> str:
    return json.dumps(json.loads(about(whole)["config"]) | changes)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("temperature", v) for v in ("0", "-1", '"hot"', "NaN", "Infinity", "null", "[1]", "{")),
        *(("mean", v) for v in ("[NaN]", "[]", "[1, 2]", "3", '["a"]', "[1e999]", "null")),
        *(("std", v) for v in ("[NaN]", "[-1]", "[]", '["a"]')),
        *(("outputs", v) for v in ("[]", "[1]", '"ab"', "{}", '["a"]', "[" * 5000)),
        *(("image_shape", v) for v in ("[1, 8]", "[0, 8, 8]", "[1, -8, 8]", "[1, 99999999, 9]")),
        *(("image_shape", v) for v in ("[3, 8, 8]", "[1, 8.5, 8]", "8")),
        *(("target_mean", v) for v in ("[1]", "[NaN]")),
        ("target_std", "[0]"),
        *(("config", v) for v in ("{}", "[]", "3", "null", "nonsense")),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_right_is_refused(
    whole: Path, tmp_path: Path, key: str, value: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(load(whole.read_bytes()), about(whole) | {key: value}))
    with pytest.raises(HpsearchError, match=r"is not a model that hpsearch wrote: "):
        load_model(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 100_000},
        {"filters": 2048},
        {"filters": -1},
        {"kernel_size": 2},
        {"family": "vgg"},
        {"family": 3},
        {"surprise": 1},
        {"units1": 10**40},
        {"task": "regression", "loss": "mse", "metric": "mse"},
    ],
    ids=str,
)
def test_a_configuration_that_is_not_of_these_weights_is_refused_before_it_is_built(
    whole: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / "model.safetensors"
    metadata = about(whole) | {"config": config_but(whole, **changes)}
    path.write_bytes(save(load(whole.read_bytes()), metadata))
    began = time.process_time()
    with pytest.raises(HpsearchError, match=r"is not a model that hpsearch wrote: "):
        load_model(path)
    assert time.process_time() - began < SLOWEST_S


def _renamed(name: str, tensors: dict[str, torch.Tensor]) -> None:
    tensors["other"] = tensors.pop(name)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda name, t: t.pop(name), "is missing"),
        (_renamed, "belongs to no part of this network|is missing"),
        (lambda name, t: t.update({name: t[name].double()}), "expected torch.float32"),
        (lambda name, t: t.update({name: t[name].half()}), "expected torch.float32"),
        (lambda name, t: t.update({name: t[name][:1].clone()}), "of shape .*; expected"),
        (lambda name, t: t.update({name: t[name] * float("nan")}), "no finite number"),
        (lambda name, t: t.update({name: t[name] + float("inf")}), "no finite number"),
        (lambda name, t: t.clear(), "is missing"),
    ],
)
def test_tensors_that_are_not_the_networks_are_refused(
    whole: Path, tmp_path: Path, spoil: Any, expected: str
) -> None:
    tensors = load(whole.read_bytes())
    spoil(next(n for n in tensors if n.endswith("weight")), tensors)
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(tensors, about(whole)))
    with pytest.raises(HpsearchError, match=expected):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 64, b"{}", b"PK\x03\x04" * 9])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(HpsearchError, match="is not a model that hpsearch wrote"):
        load_model(path)


def test_a_file_without_metadata_is_refused(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(load(whole.read_bytes())))
    with pytest.raises(HpsearchError, match="config: Field required"):
        load_model(path)


def _spoilt(raw: bytes, rng: Random) -> bytes:
    """Return a model file with bytes of its head changed or its end cut off."""
    length = int.from_bytes(raw[:8], "little")
    changed = bytearray(raw)
    way = rng.randrange(4)
    if way == 0:
        for _ in range(rng.choice((1, 2, 8))):
            changed[rng.randrange(8 + length)] = rng.randrange(256)
    elif way == 1:
        del changed[rng.randrange(len(changed)) :]
    elif way == 2:
        changed[rng.randrange(8)] = rng.randrange(256)
    else:
        head = raw[8 : 8 + length].decode()
        numbers = [i for i, sign in enumerate(head) if sign.isdigit()]
        place = rng.choice(numbers)
        put = rng.choice(("9" * 30, "-1", "NaN", "1e999", "0", "", "[", '\\"', "9" * 5000))
        head = head[:place] + put + head[place + 1 :]
        changed[: 8 + length] = len(head.encode()).to_bytes(8, "little") + head.encode()
    return bytes(changed)


def test_every_one_of_500_spoilt_model_files_is_loaded_or_refused_in_words(
    whole: Path, tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    rng, raw, refused = Random(0), whole.read_bytes(), 0
    path = tmp_path / "model.safetensors"
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(500):
        path.write_bytes(_spoilt(raw, rng))
        began = time.process_time()
        try:
            model = load_model(path)
        except HpsearchError as error:
            refused += 1
            assert len(str(error)) < 1000
        else:  # it is whole where it matters: a version's name, a digit of a mean
            model.probabilities(images) if model.image_shape == (1, 8, 8) else None
        assert time.process_time() - began < SLOWEST_S, number
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < MOST_KIB
    assert refused > 300
