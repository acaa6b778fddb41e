"""The content of an exported file: a configuration, what it scored, and with which versions."""

from __future__ import annotations

import math
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hpsearch.study.config import TrialConfig
from hpsearch.study.file import read_yaml, validated
from hpsearch.study.tasks import Metric, key_of

PACKAGES = ("hpsearch", "torch", "torchvision", "optuna", "numpy", "pillow", "scikit-learn")


class Recorded(BaseModel):
    """What the exported training scored, and where.

    `seed_sd` is the standard deviation of the test score between `seeds` trainings that differed in
    nothing but their seed, where there were any.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    study: str
    trial: int
    state: str = "complete"
    epochs: int = Field(ge=0)
    device: str = "cpu"
    seeds: int | None = Field(None, ge=1)
    seed_sd: float | None = Field(None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _scores_are_numbers(self) -> Recorded:
        for name, value in (self.model_extra or {}).items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name.startswith("test_") and not (
                value is None or (number and math.isfinite(value))
            ):
                raise ValueError(f"{name}: {value!r} is no score; write a number")
        return self

    def test_score(self, metric: Metric) -> float | None:
        """Return the score on **test**, which stands as `test_accuracy`, `test_mse` or the like."""
        found: float | None = (self.model_extra or {}).get(f"test_{key_of(metric)}")
        return found


class Exported(BaseModel):
    """The content of an exported file. `train_on` is what the exported weights were taught with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: TrialConfig
    train_on: Literal["train", "train+test"] = "train"
    recorded: Recorded
    versions: dict[str, str] = {}

    @model_validator(mode="after")
    def _trained_no_longer_than_it_may(self) -> Exported:
        stopped = self.recorded.state != "complete"  # then the score is that of its last epoch
        if stopped and self.recorded.epochs > self.config.epochs:
            raise ValueError(
                f"recorded.epochs: {self.recorded.epochs} is above config.epochs, "
                f"{self.config.epochs}"
            )
        return self


def package_versions() -> dict[str, str]:
    """Return the versions that a training depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def read_exported(path: str | Path) -> Exported:
    """Return what `export` wrote; StudyFileError says where a file is wrong."""
    return validated(Exported, read_yaml(path), str(path))
