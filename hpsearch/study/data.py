"""The `data` section of a study file: which images, how they are decoded, how they are split."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

SourceName = Literal[
    "digits",
    "mnist",
    "fashion-mnist",
    "kmnist",
    "emnist",
    "cifar10",
    "cifar100",
    "svhn",
    "folder",
]
Task = Literal["single-label", "multi-label", "regression"]
Duplicates = Literal["together", "refuse", "allow"]
WITH_OFFICIAL_TEST = frozenset(get_args(SourceName)) - {"digits", "folder"}


class Section(BaseModel):
    """A section of a study file: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Split(Section):
    """Shares of the data.

    train learns, **test selects** hyperparameters and prunes, **validation is sealed** until the
    final choice. `validation: official` seals the data set's own test part instead of a share.
    """

    train: float = Field(0.8, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)
    validation: float | Literal["official"] = 0.1
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _shares_add_up(self) -> Split:
        if self.validation == "official":
            if self.train + self.test > 1 + 1e-9:
                raise ValueError(f"train {self.train} + test {self.test} is above 1")
            return self
        if not 0 < self.validation < 1:
            raise ValueError(f"validation {self.validation:g} is not between 0 and 1")
        total = self.train + self.test + self.validation
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + test + validation is {total:g}; make the shares add up to 1")
        return self

    def test_share(self) -> float:
        """Return the share of **test** in all images that an official test part leaves over."""
        return self.test / (self.train + self.test) if self.validation == "official" else self.test


class Data(Section):
    """Where images come from, how they are decoded (`image_size` in pixels), how they are split.

    `root` only says where the data lies; the fingerprint of its content says what it is. Copies of
    one image in several splits are moved `together` into train, or the data is refused, or they are
    allowed to stay.
    """

    source: SourceName
    root: str | None = None
    image_size: int | None = Field(None, ge=8, le=224)
    on_broken: Literal["error", "skip"] = "error"
    duplicates: Duplicates = "together"
    download: bool = False
    split: Split = Split()

    @model_validator(mode="after")
    def _fits_the_source(self) -> Data:
        if self.source == "folder" and self.image_size is None:
            raise ValueError("a folder of images needs image_size, such as image_size: 64")
        if self.source == "folder" and self.root is None:
            raise ValueError("a folder of images needs root, the folder of class folders")
        if self.split.validation == "official" and self.source not in WITH_OFFICIAL_TEST:
            raise ValueError(f"{self.source} has no official test part; give validation a share")
        return self


class DataReference(Data):
    """The data of one training, identified wherever it lies by the `fingerprint` of its content."""

    fingerprint: str
