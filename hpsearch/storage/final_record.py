"""What an opening showed, as it is written and as it is read: see `records`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field, model_validator

from hpsearch.storage.records import Curve, Record
from hpsearch.study.data import Task
from hpsearch.study.tasks import Metric, key_of

Interval = tuple[float, float]
TrainOn = Literal["train", "train+test"]


class Scores(Record):
    """What a network scored on one split: every metric of its task, under the name `key_of` it."""

    images: int
    groups: int | None = None
    loss: float
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    macro_f1: float | None = None
    mean_average_precision: float | None = None
    mse: float | None = None
    mae: float | None = None
    r2: float | None = None
    interval: Interval | None = None  # 95 %

    def of(self, metric: Metric) -> float:
        """Return the score by a metric; KeyError where it was not measured."""
        found: float | None = getattr(self, key_of(metric))
        if found is None:
            raise KeyError(metric)
        return found


class OutputScores(Record):
    """How well one class or label is found among others; `average_precision` of labels alone."""

    precision: float
    recall: float
    f1: float
    images: int
    average_precision: float | None = None


class NumberScores(Record):
    """The errors of one number in its own units; `residuals` by quantiles, as `0.05`."""

    mse: float
    mae: float
    r2: float
    residuals: dict[str, float]


class ValidationScores(Scores):
    """The scores on validation, and those of each class, label or number.

    Row i of `confusion` holds the images of class i, column j those that were called j.
    """

    confusion: list[list[int]] = Field(default_factory=list)
    per_class: list[OutputScores] = Field(default_factory=list)
    per_label: list[OutputScores] = Field(default_factory=list)
    per_number: list[NumberScores] = Field(default_factory=list)
    outputs_sha256: str | None = None


class BinRecord(Record):
    """The answers given with a confidence above `low` and up to `high`, and how many were right."""

    low: float
    high: float
    answers: int
    confidence: float
    right: float


class MendedRecord(Record):
    """The calibration error once the temperature has divided the logits."""

    error: float
    by_chance: float | None


class CalibrationRecord(Record):
    """Whether probabilities mean what they say (see `evaluation.calibration`)."""

    error: float
    by_chance: float | None
    bins: list[BinRecord]
    temperature: float | None = None
    mended: MendedRecord | None = None


class MistakeRecord(Record):
    """An image of validation, counted from 0, what it is, and what was predicted, in words."""

    image: int
    truth: str = Field(alias="is")
    # `told` until schema version 4
    predicted: str = Field(validation_alias=AliasChoices("predicted", "told"))
    confidence: float | None  # None of a regression
    text: str | None = None


class LuckRecord(Record):
    """The search's best score, and by how much luck is expected to have lifted it."""

    complete: int = 0  # trials
    best: float | None = None
    trial: int | None = None
    optimism: float | None = None  # None where nothing tells
    luck: str = "test images alone"  # with which


class ConfirmedRecord(Record):
    """What the choice's trainings with new seeds came to."""

    seeds: int
    mean: float
    seed_sd: float | None = None  # of one seed


class BesideRecord(Record):
    """The default configuration, trained beside the choice; why not, where it `failed`.

    `gain` is the choice's score above its own on validation; `in_parts` in how many parts a batch
    was trained where memory was shorter than in its trial.
    """

    trial: int
    failed: str | None = None
    in_parts: int | None = None
    test: Scores | None = None
    validation: Scores | None = None
    gain: float | None = None
    gain_interval: Interval | None = None
    curve: Curve = Field(default_factory=list)


class DataPlace(Record):
    """Of the data of a configuration, what tells pictures from text."""

    source: str | None = None


class ConfigRecord(Record):
    """A configuration as a version wrote it: what is said of it later. The rest is kept, too."""

    task: Task = "single-label"
    metric: Metric = "accuracy"
    family: str | None = None
    backbone: str | None = None
    layers: int | None = None
    filters: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    seed: int | None = None
    micro_batches: int = 1
    threads: int = 1
    data: DataPlace = DataPlace()


class TrainingRecord(Record):
    """A network trained to its end; `test` is None where test was taught, too."""

    curve: Curve
    epoch: int | None = None  # whose weights count
    train_on: TrainOn = "train"
    device: str | None = None
    versions: dict[str, str] | None = None
    train: Scores
    test: Scores | None = None


class FinalRecord(TrainingRecord):
    """What an opening showed: the choice, trained again and measured on validation."""

    trial: int
    outputs: list[str]
    validation: ValidationScores
    calibration: CalibrationRecord | None = None
    mistakes: list[MistakeRecord] = Field(default_factory=list)
    search: LuckRecord | None = None
    confirm: ConfirmedRecord | None = None
    baseline: BesideRecord | None = None
    config: ConfigRecord
    weights: str = ""  # HOST:PATH
    weights_sha256: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_schema_version_2(cls, written: Any) -> Any:
        if isinstance(written, dict) and "outputs" not in written and "classes" in written:
            return {**written, "outputs": written["classes"]}
        return written
