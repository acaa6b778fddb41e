"""Precision is what its user says, or what a probe finds."""

import numpy as np
import pytest
import torch

from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.training.precision import best_device, faster_precision

PIXELS = Labelled(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1]))
DATA = SearchData(PIXELS, PIXELS, "single-label", ("a", "b"), (0.0,), (1.0,), "none")


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_a_wish_is_followed(wanted: str) -> None:
    assert faster_precision(wanted, DATA, torch.device("cpu")) == wanted


def test_the_probe_answers_with_one_of_the_two() -> None:
    assert faster_precision("auto", DATA, torch.device("cpu")) in ("fp32", "bf16")


@pytest.mark.parametrize("shape", [(1, 256), (40, 1), (1, 1)])
def test_the_probe_takes_texts_and_signals_whose_maps_have_one_axis(shape: tuple[int, int]) -> None:
    pixels = Labelled(np.zeros((4, *shape, 1), np.uint8), np.array([0, 1, 0, 1]))
    data = SearchData(pixels, pixels, "single-label", ("a", "b"), (0.0,), (1.0,), "none", symbols=9)
    assert faster_precision("auto", data, torch.device("cpu")) in ("fp32", "bf16")


def test_a_machine_gives_the_same_answer_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = faster_precision("auto", DATA, torch.device("cpu"))
    other = {"fp32": "bf16", "bf16": "fp32"}[first]
    monkeypatch.setattr("hpsearch.training.precision._probed", lambda data, device: other)
    assert faster_precision("auto", DATA, torch.device("cpu")) == first


def test_the_best_device_can_hold_a_tensor() -> None:
    assert torch.ones(1, device=best_device()).item() == 1
