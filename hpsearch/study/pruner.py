"""What a study file says of weak trials: who stops or pauses them, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hpsearch.study.limits import EPOCHS, TRIALS, at_most
from hpsearch.study.splits import Section

Epochs = Annotated[int, at_most(EPOCHS)]
Trials = Annotated[int, at_most(TRIALS)]


class Pruner(Section):
    """How weak trials are stopped or paused, by their test metric so far.

    The median and percentile pruners begin once `startup_trials` trials are complete, never judge
    the first `warmup_epochs` epochs, and need `min_trials` values at an epoch to compare with.
    `promote` pauses trials and resumes the best of them, one of `reduction_factor` at each of its
    rungs, of which the first is `warmup_epochs`. With `resume`, trials that the median pruner would
    stop are paused, and the most promising of them go on in the end.
    """

    name: Literal["median", "percentile", "successive-halving", "hyperband", "promote", "none"] = (
        "median"
    )
    startup_trials: Trials = Field(5, ge=1)
    warmup_epochs: Epochs = Field(1, ge=0)
    interval_epochs: Epochs = Field(1, ge=1)
    min_trials: Trials = Field(3, ge=1)
    percentile: float = Field(50.0, gt=0, lt=100)
    reduction_factor: Epochs = Field(3, ge=2)
    resume: bool = False

    @model_validator(mode="after")
    def _resumes_what_it_pauses(self) -> Pruner:
        if self.resume and self.name != "median":
            raise ValueError(
                f"resume: {self.name} has no such option; write it of median, or use promote, "
                "which always resumes"
            )
        return self
