"""Configurations that were found good by this tool, by family and by the kind and size of the data.

They are tried soon after the default configuration of a study on data of their kind. What a row
does not name is the default, and each says how it was found. A new row is the choice of a study
that has ended: its record is in tests/benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hpsearch.study.axes import Value
from hpsearch.study.spec import StudySpec

Kind = Literal["small grey", "grey", "colour", "photos", "spectrograms", "text"]
Size = Literal["thousands", "tens of thousands"]

SMALL, MIDDLE = 12, 32  # pixels along the longer side, at most
THOUSANDS = 10_000  # train examples, fewer than


@dataclass(frozen=True)
class KnownGood:
    """A configuration, the data it is good on, and how that was found."""

    kind: Kind
    size: Size
    values: Mapping[str, Value]
    found: str


KNOWN_GOOD: tuple[KnownGood, ...] = (
    KnownGood(
        "grey",
        "tens of thousands",
        {"family": "vgg", "filters": 24, "shift": 1},
        "studies/families.yaml on Fashion-MNIST, 17 trials of 8 epochs: validation 0.9444",
    ),
    KnownGood(
        "grey",
        "tens of thousands",
        {
            "family": "alexnet",
            "filters": 64,
            "layers": 3,
            "units1": 120,
            "units2": 96,
            "learning_rate": 3.8e-3,
        },
        "tests/benchmarks/race.yaml on Fashion-MNIST, 21 trials of 10 epochs: validation 0.9351",
    ),
    KnownGood(
        "spectrograms",
        "thousands",
        {"family": "alexnet", "filters": 48, "layers": 4, "shift": 4},
        "studies/spoken-digits.yaml, 20 trials of 12 epochs, a voice never heard: 0.8000",
    ),
    KnownGood(
        "spectrograms",
        "thousands",
        {"family": "alexnet", "filters": 32, "layers": 3, "shift": 4},
        "the same with known voices: validation 0.9767",
    ),
    KnownGood(
        "photos",
        "thousands",
        {"family": "alexnet", "filters": 32, "layers": 3, "flip": True, "shift": 4},
        "studies/flowers.yaml, 20 trials of 20 epochs: validation 0.7167",
    ),
)


def kind_of_data(spec: StudySpec, shape: tuple[int, int, int]) -> Kind:
    """Return what kind of data a study has, by its source and the shape of an image `(C, H, W)`."""
    if spec.data.source == "text":
        return "text"
    if spec.data.source == "sound":
        return "spectrograms"
    channels, side = shape[0], max(shape[1:])
    if side > MIDDLE:
        return "photos"
    if channels == 1:
        return "small grey" if side <= SMALL else "grey"
    return "colour"


def known_good(
    spec: StudySpec,
    shape: tuple[int, int, int],
    train: int,
    table: tuple[KnownGood, ...] = KNOWN_GOOD,
) -> list[KnownGood]:
    """Return what is known to be good on data like a study's, in the families that it searches.

    Of the same kind; those of about as many train examples come first.
    """
    kind = kind_of_data(spec, shape)
    size: Size = "thousands" if train < THOUSANDS else "tens of thousands"
    families = spec.space.families()
    mine = [row for row in table if row.kind == kind and row.values["family"] in families]
    return sorted(mine, key=lambda row: row.size != size)
