"""What the ledger and trials keep of trainings and finals, as it is written and as it is read.

Records stand in the database as JSON, and as a trial's attributes. Each is read here, where one of
an earlier version is brought to today's names. What a newer one has besides is kept as it is. What
was not written stays unwritten: `as_json` of a record that was read has the fields that it had.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, Self, TypedDict

from optuna.trial import FrozenTrial
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from hpsearch.errors import StudyFileError


class Record(BaseModel):
    """What all records have in common."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,  # most commands read few kinds of record
    )

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data, with what was written alone."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    @classmethod
    def read(cls, written: str, what: str) -> Self:
        """Return a record that was written as JSON; StudyFileError names it as `what`."""
        try:
            return cls.model_validate_json(written)
        except ValidationError as error:
            raise StudyFileError(f"{what}: {_first(error)}") from None

    def written(self) -> str:
        """Return it as JSON for the database."""
        return json.dumps(self.as_json())


def _first(error: ValidationError) -> str:
    """Return in a line where a record is wrong first, and how."""
    found = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, found["loc"]))
    return f"{place}: {found['msg']}" if place else found["msg"]


# Trainings


class EpochRecord(Record):
    """One epoch. A loss or metric is None where it was no finite number, or was not measured."""

    epoch: int
    train_loss: float | None
    train_metric: float | None
    test_loss: float | None
    test_metric: float | None
    duration_s: float


Curve = list[EpochRecord]


class TrialRecord(Record):
    """What workers write to a trial beside what Optuna knows of it: its user attributes.

    `reason` is why it came to no score, `ended` how (see `search.kinds`); `micro_batches` is in how
    many parts a batch was trained where memory was short, `best_epoch` whose weights early stopping
    kept.
    """

    model_config = ConfigDict(strict=True)

    slot: int
    seed: int | None = None
    precision: str | None = None
    threads: int = 1
    worker: str | None = None
    device: str = "cpu"
    torch: str | None = None  # its version where the trial began, ...
    torch_later: str | None = None  # ... and where it went on, if another
    parameters: int | None = None
    forward_flops: float | None = None
    predicted_s: float | None = None  # an epoch, by the study's plan and without other trials
    latency_ms: float | None = None  # of one image, where a study asks for it, ...
    latency_on: str | None = None  # ... and what it was measured on, with how many threads
    micro_batches: int = 1
    epochs_written: list[dict[str, Any]] = Field([], alias="curve")
    duration_s: float | None = None
    best_epoch: int | None = None
    reason: str | None = None
    traceback: str | None = None
    ended: str | None = None
    key: str | None = None  # of its configuration: equal ones have the same (`search.known`)
    equals: int | None = None  # the trial whose configuration it has, where it is known
    start: str | None = None  # where its configuration is from, where no sampler proposed it
    paused: int | None = None  # the epoch after which it waits for the scheduler, ...
    until: str | None = None  # ... what for, in words, ...
    resumed: int | None = None  # ... and after which epoch it went on last
    peak_memory_bytes: int | None = None  # of a GPU
    device_memory_bytes: int | None = None

    @field_validator("epochs_written", mode="plain")
    @classmethod
    def _are_mappings(cls, written: Any) -> list[dict[str, Any]]:
        if not isinstance(written, list) or not all(isinstance(e, dict) for e in written):
            raise ValueError("it is no list of epochs")
        return written

    @cached_property
    def curve(self) -> Curve:
        """Its epochs, read when they are asked for: of 300 trials they are most of the work.

        Raises StudyFileError where one of them cannot be read.
        """
        try:
            return [EpochRecord.model_validate(epoch) for epoch in self.epochs_written]
        except ValidationError as error:
            raise StudyFileError(f"an epoch of slot {self.slot}: {_first(error)}") from None

    @property
    def epochs(self) -> int:
        """How many epochs it has trained."""
        return len(self.epochs_written)


class TrialNotes(TypedDict, total=False):
    """What a worker writes to a trial at a time (`optuna_trials.note`): some of a `TrialRecord`."""

    slot: int
    seed: int
    precision: str
    threads: int
    worker: str
    device: str
    torch: str
    torch_later: str
    parameters: int
    forward_flops: float
    predicted_s: float
    latency_ms: float
    latency_on: str
    micro_batches: int
    curve: list[dict[str, Any]]
    duration_s: float
    best_epoch: int
    reason: str
    traceback: str
    ended: str
    key: str
    equals: int
    start: str
    paused: int | None
    until: str
    resumed: int | None
    peak_memory_bytes: int
    device_memory_bytes: int


def trial_record(trial: FrozenTrial) -> TrialRecord:
    """Return the record of a trial; StudyFileError where it is none of ours, or was changed."""
    attrs = trial.user_attrs
    if "slot" not in attrs:
        raise StudyFileError(f"its trial {trial.number} was not made by hpsearch")
    try:
        return TrialRecord.model_validate(attrs)
    except ValidationError as error:
        name = error.errors(include_url=False, include_input=False)[0]["loc"][0]
        raise StudyFileError(f"its trial {trial.number} has a '{name}' of another kind") from None


class ConfirmationRecord(Record):
    """What the training of a finalist with another seed came to.

    `score` is its test metric, None where it came to none, for a `reason`. How it did on each test
    image is packed (see `search.finalist_training.by_image`): `correct` or `resampled`, `groups`.
    """

    seed: int | None = None
    device: str = "cpu"
    curve: Curve = Field(default_factory=list)
    micro_batches: int = 1
    infeasible: str | None = None
    reason: str | None = None
    traceback: str | None = None
    score: float | None = None
    epoch: int | None = None
    duration_s: float | None = None
    images: int = 0
    groups: str | None = None
    # `hits` until schema version 4
    correct: str | None = Field(None, validation_alias=AliasChoices("correct", "hits"))
    resampled: str | None = None
