"""What a study file can mean, but seldom does, is said in one line."""

from __future__ import annotations

from typing import Any

import pytest
from made_studies import spec_of

RATE = {"low": 1e-4, "high": 1e-2, "log": True}


def warnings(space: dict[str, Any], sampler: str = "gp") -> list[str]:
    return spec_of(space=space, sampler=sampler).warnings()


def test_axes_that_a_gaussian_process_never_learns_are_named_in_one_line() -> None:
    space = {
        "family": ["alexnet", "vgg", "resnet"],
        "layers": [2, 3],
        "convolutions": [1, 2],
        "block": ["basic", "bottleneck"],
        "filters": {"alexnet": [8, 16], "vgg": [16, 24], "resnet": 8},
        "learning_rate": RATE,
    }
    assert warnings(space) == [
        "search.sampler: gp learns axes that all 3 families have, and draws alexnet.filters, "
        "block, convolutions, vgg.filters at random to the end; tpe learns them, too"
    ]
    assert warnings(space, "tpe") == []


@pytest.mark.parametrize("families", ["alexnet", ["alexnet", "vgg"]])
def test_axes_that_all_families_have_are_learned(families: Any) -> None:
    assert warnings({"family": families, "filters": [8, 16], "learning_rate": RATE}) == []
