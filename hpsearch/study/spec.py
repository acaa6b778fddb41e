"""`StudySpec`: a study file, read once, validated and frozen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hpsearch.study.axes import Fixed, Value
from hpsearch.study.config import FORMERLY, LATER, Pretrained, TrialConfig, has
from hpsearch.study.data import Data
from hpsearch.study.limits import (
    EPOCHS,
    GRID_POINTS,
    STORED,
)
from hpsearch.study.names import STUDY_NAME
from hpsearch.study.searching import Search
from hpsearch.study.seldom import hidden_early, seldom_meant, small_epochs
from hpsearch.study.space import Space
from hpsearch.study.splits import Section
from hpsearch.study.tasks import (
    AUTO,
    Loss,
    Metric,
    default_loss,
    default_metric,
    loss_misfit,
    metric_misfit,
    smoothing_misfit,
)

if TYPE_CHECKING:
    import optuna

# A study's results lie in runs/NAME, and beside them the default storage and the checkpoints;
# the others are devices to Windows, whatever follows.
RESERVED = frozenset({"checkpoints", "con", "prn", "aux", "nul"})
DATABASES = (".db", ".db-wal", ".db-shm", ".db-journal", ".lock")


class Confirm(Section):
    """How the best configurations are trained again, with new seeds, before one is chosen.

    Of the best `candidates`, each is trained with up to `seeds` new seeds, and the one with the
    best mean test metric is chosen. Of those that cannot be distinguished from it, the smaller
    network is (fewer parameters), or the `faster` one (fewer FLOPs), or still the one of the best
    `score`. Without a number of candidates there are 3, and none in a search of fewer than 20
    trials, which has little to be lucky with, and would take twice as long.
    """

    candidates: int | None = Field(None, ge=0, le=100)
    seeds: int = Field(3, ge=1, le=20)
    prefer: Literal["smaller", "faster", "score"] = "smaller"


# What a space holds under `promote` that says nothing of it; see tests/benchmarks/early_scores.py.
EARLY: dict[str, Value] = {"schedule": "warmup-constant", "averaging": "ema"}

CONFIRMED = 3  # candidates, unless the study says otherwise
CONFIRMED_FROM = 20  # trials on


def _unconfirmed(written: object) -> object:
    return {"candidates": 0} if written == "none" else written


class Final(Section):
    """How the choice is trained for validation to judge, and what is measured beside it.

    With `train_on: train+test` no test image is left to check the training on. `baseline` trains
    the default configuration too, so that one opening tells what tuning gained. `temperature` is
    fitted on **test**, and makes probabilities mean what they say.
    """

    train_on: Literal["train", "train+test"] = "train"
    baseline: bool = True
    temperature: bool = False


def is_name(text: str) -> bool:
    """Whether a study may have this name."""
    return re.fullmatch(STUDY_NAME.removeprefix("^").removesuffix("$"), text) is not None


class StudySpec(Section):
    """A whole study: what its user wrote, every default filled in.

    It `continues` an earlier study on the same data with another space or budget: both have one
    seal, and what the earlier one has opened is open.
    """

    name: Annotated[str, Field(pattern=STUDY_NAME)]
    data: Data
    space: Annotated[Space, PlainSerializer(lambda space: space.notation())] = Space()
    search: Search = Search()
    pretrained: Pretrained = Pretrained()
    confirm: Annotated[Confirm, BeforeValidator(_unconfirmed)] = Confirm()
    final: Final = Final()
    continues: Annotated[str, Field(pattern=STUDY_NAME)] | None = None

    @model_validator(mode="after")
    def _scores_early(self) -> StudySpec:
        """Where trials are compared after a few epochs, scores say early how a training will end,
        unless the space says otherwise."""
        if self.search.pruner.name == "promote":
            unsaid = {n: Fixed(v) for n, v in EARLY.items() if n not in self.space.model_fields_set}
            object.__setattr__(self, "space", self.space.model_copy(update=unsaid))
        return self

    @model_validator(mode="after")
    def _continues_another(self) -> StudySpec:
        if self.continues == self.name:
            raise ValueError(
                "continues: a study does not continue itself; launching it again goes on with it"
            )
        if self.search.warm_start == self.name:
            raise ValueError("search.warm_start: a study learns nothing from itself; leave it out")
        for key in ("first", "warm_start"):
            if self.search.sampler.name == "grid" and getattr(self.search, key):
                raise ValueError(f"search.{key}: a grid tries all there is; leave it out")
        return self

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str, info: ValidationInfo) -> str:
        stored = bool((info.context or {}).get("stored"))
        if not stored and (name.lower() in RESERVED or name.lower().endswith(DATABASES)):
            raise ValueError(
                f"{name!r} is the name of a file or folder of hpsearch's own beside the studies' "
                "folders; choose another"
            )
        return name

    @model_validator(mode="after")
    def _grid_is_finite(self) -> StudySpec:
        if self.search.sampler.name != "grid":
            return self
        axis, points = self.space.longest()
        if points > GRID_POINTS:
            raise ValueError(
                f"search.sampler: {axis} has {points:,} points, and {GRID_POINTS:,} are the most "
                "of a grid; take larger steps"
            )
        if self.space.grid_size() is None:
            axis = self.space.continuous()[0]
            raise ValueError(f"search.sampler: grid needs lists or steps; {axis} is continuous")
        return self

    @model_validator(mode="after")
    def _fits_the_task(self) -> StudySpec:
        task, losses = self.data.task, {self.loss(value) for value in self.space.values("loss")}
        found = [("space.loss", loss_misfit(task, loss)) for loss in sorted(losses)]
        found.append(("search.metric", metric_misfit(task, self.metric)))
        if max(float(value) for value in self.space.values("label_smoothing")) > 0:
            found += [("space.label_smoothing", smoothing_misfit(loss)) for loss in sorted(losses)]
        for key, wrong in found:
            if wrong is not None:
                raise ValueError(f"{key}: {wrong}")
        return self

    @model_validator(mode="after")
    def _final_can_be_trained(self) -> StudySpec:
        if self.final.temperature and self.data.task == "regression":
            raise ValueError(
                "final.temperature: it is for probabilities, and a regression has none; leave it "
                "out"
            )
        if self.final.train_on == "train":
            return self
        for asked, what in (
            (self.final.temperature, "final.temperature is fitted on test"),
            (self.search.early_stopping is not None, "search.early_stopping watches test"),
            ("plateau" in self.space.values("schedule"), "schedule: plateau watches test"),
        ):
            if asked:
                raise ValueError(
                    f"final.train_on: train+test leaves no test image in the final, and {what}; "
                    "write train_on: train, or leave the other out"
                )
        return self

    @property
    def metric(self) -> Metric:
        """The metric that selects."""
        return self.search.metric or default_metric(self.data.task)

    def loss(self, picked: object) -> Loss:
        """Return the loss that a value of the space's axis stands for."""
        return default_loss(self.data.task) if picked == AUTO else cast(Loss, picked)

    def warnings(self) -> list[str]:
        """Return what can be meant, but seldom is."""
        search, early = self.search, self.search.early_stopping
        patience = None if early is None else early.patience
        epochs = EPOCHS if search.plans_epochs else search.epochs  # as many as it takes
        found = seldom_meant(self.space, search.sampler.name, epochs, patience)
        found += search.idle_goal(search.sampler.name)
        found += small_epochs(self.space, search.epoch_images)
        return found + (hidden_early(self.space) if search.pruner.name == "promote" else [])

    def identity(self) -> dict[str, Any]:
        """Return what makes scores of this study comparable, flat: dotted key -> value.

        Budgets and the place of the data are left out: they may change between launches. So is
        what decides which networks are trained, but not what a training comes to: `constraints`,
        `max_parameters` and `also`; and `confirm` and `final`, which come after all of them, and
        what it `continues`.
        """
        written = self.model_dump(mode="json", exclude={"confirm", "final", "continues"})
        for section, key in (
            ("data", "root"),
            ("data", "roots"),
            ("data", "download"),
            ("search", "trials"),
            ("search", "timeout"),
            ("search", "minutes"),
            ("search", "core_hours"),
            ("search", "trial_timeout"),
            ("search", "stall_timeout"),
            ("search", "max_parameters"),
            ("search", "constraints"),
            ("search", "also"),
            ("pretrained", "download"),
        ):
            written[section].pop(key)
        for name, value in FORMERLY.items():  # as in studies of before there was that axis
            if written["space"].get(name) == value:
                del written["space"][name]
        for name in LATER:
            if written["search"][name] is None:
                del written["search"][name]
        return _flat(written)

    def candidates(self) -> int:
        """Return how many of the best configurations are to be confirmed."""
        if self.confirm.candidates is not None:
            return self.confirm.candidates
        return CONFIRMED if self.trial_budget() >= CONFIRMED_FROM else 0

    def trial_budget(self, with_idle: bool = False) -> int:
        """Return how many trials there can be: the wish, or the grid where that is smaller."""
        size = self.space.grid_size(with_idle) if self.search.sampler.name == "grid" else None
        return self.search.trials if size is None else min(self.search.trials, size)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and prefix != "space.":
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def config_from(spec: StudySpec, fingerprint: str, trial: optuna.trial.BaseTrial) -> TrialConfig:
    """Return the `TrialConfig` of a trial: sampled where it is live, rebuilt where it is stored.

    What is not sampled (seed, precision, threads) was written to the trial when it was claimed.
    """
    attrs = trial.user_attrs
    picked: dict[str, Any] = spec.space.pick_all(trial)
    picked["loss"] = spec.loss(picked["loss"])
    early = spec.search.early_stopping
    if has(picked["family"], "pretrained"):
        picked["pretrained"] = spec.pretrained
    written = picked | {
        "task": spec.data.task,
        "metric": spec.metric,
        "early_stopping": None if early is None else early.patience,
        "epochs": spec.search.epochs,
        "epoch_images": spec.search.epoch_images,
        "seed": attrs["seed"],
        "micro_batches": attrs.get("micro_batches", 1),
        "precision": attrs["precision"],
        "threads": attrs["threads"],
        "data": spec.data.model_dump() | {"fingerprint": fingerprint},
    }
    return TrialConfig.model_validate(written, context=STORED)
