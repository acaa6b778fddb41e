"""The section `search` of a study file: how its space is searched, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from hpsearch.study.budget import PlannedBudget
from hpsearch.study.durations import Duration
from hpsearch.study.first import MOST as MOST_FIRST
from hpsearch.study.first import Candidate
from hpsearch.study.goals import Goals
from hpsearch.study.limits import IMAGES, SEED, at_most
from hpsearch.study.names import STUDY_NAME
from hpsearch.study.pruner import Epochs, Pruner, Trials
from hpsearch.study.splits import Section
from hpsearch.study.tasks import Metric


class Sampler(Section):
    """How hyperparameters are proposed. `startup_trials` are random before TPE or GP models."""

    name: Literal["tpe", "random", "grid", "gp"] = "tpe"
    startup_trials: Trials = Field(10, ge=1)


class EarlyStopping(Section):
    """When a trial that overfits ends: `patience` epochs after its lowest test loss.

    The rule is that of `hpsearch.training.overfitting`. With it a trial is worth the test metric of
    its best epoch, whose weights are kept, whether it was stopped or not.
    """

    patience: Epochs = Field(ge=1)


def _patience(written: object) -> object:
    number = isinstance(written, int) and not isinstance(written, bool)
    return {"patience": written} if number else written


def _named(written: object) -> object:
    return {"name": written} if isinstance(written, str) else written


class Search(PlannedBudget, Goals):
    """How the space is searched, and for how long.

    `metric` selects, on **test**; without it the task's own does. An epoch is a pass over the
    training images, or `epoch_images` of them, and the next one goes on with the pass. `trials`
    counts all trials of the study, over every launch and worker. `timeout` bounds the time in which
    anyone is at work on the study, the final training included. A trial that trains for longer than
    `trial_timeout` is stopped, and so is one that hangs for `stall_timeout`. The configurations of
    `first` are tried before the sampler is asked, and what an earlier study learned and found best
    is taken from `warm_start`.
    """

    sampler: Annotated[Sampler, BeforeValidator(_named)] = Sampler()
    pruner: Annotated[Pruner, BeforeValidator(_named)] = Pruner()
    metric: Metric | None = None
    epochs: Epochs = Field(10, ge=1)
    epoch_images: Annotated[int | None, at_most(IMAGES)] = Field(None, ge=1)
    early_stopping: Annotated[EarlyStopping | None, BeforeValidator(_patience)] = None
    trials: Trials = Field(50, ge=1)
    timeout: Duration | None = None
    trial_timeout: Duration | None = None
    stall_timeout: Duration = 600.0
    seed: Annotated[int, at_most(SEED)] = Field(0, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    first: tuple[Candidate, ...] = Field((), max_length=MOST_FIRST)
    warm_start: Annotated[str, Field(pattern=STUDY_NAME)] | None = None
