"""`TrialConfig`: every value that decides one training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from hpsearch.study.data import DataReference, Task
from hpsearch.study.limits import (
    EPOCHS,
    IMAGES,
    PATH_LENGTH,
    SEED,
    WORKER_THREADS,
    at_most,
    at_most_of,
    no_longer_than,
)
from hpsearch.study.splits import Section
from hpsearch.study.tasks import Loss, Metric, loss_misfit, metric_misfit, smoothing_misfit

Family = Literal["alexnet", "vgg", "googlenet", "resnet", "senet", "pretrained"]
Optimizer = Literal["adam", "adamw", "sgd"]
Activation = Literal["relu", "leaky_relu", "gelu", "silu", "elu"]
Pooling = Literal["max", "average"]
Schedule = Literal["one-cycle", "cosine", "plateau", "step", "constant", "warmup-constant"]
Averaging = Literal["none", "ema"]
Precision = Literal["fp32", "bf16"]
Block = Literal["basic", "bottleneck"]
SqueezeWhere = Literal["all", "last"]
Unfreeze = Literal["none", "last", "all"]
Backbone = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "convnext_tiny",
]

_ALL = frozenset(get_args(Family))
_BUILT = _ALL - {"pretrained"}
_RESIDUAL = frozenset({"resnet", "senet"})

# The values that only some families have. All others mean something to each.
OWN_VALUES: dict[str, frozenset[str]] = {
    "filters": _BUILT,
    "layers": _BUILT,
    "pooling": _BUILT,
    "batch_norm": _BUILT,
    "kernel_size": _RESIDUAL | {"alexnet"},
    "convolutions": frozenset({"vgg"}),
    "reduction": frozenset({"googlenet"}),
    "block": _RESIDUAL,
    "blocks": _RESIDUAL,
    "squeeze": frozenset({"senet"}),
    "squeeze_where": frozenset({"senet"}),
    "backbone": frozenset({"pretrained"}),
    "unfreeze": frozenset({"pretrained"}),
    "body_rate": frozenset({"pretrained"}),
    "pretrained": frozenset({"pretrained"}),
}

# Values that nothing reads beside some values of another one, by which and beside what. Whatever
# names them first has to stand first in `Space`.
_SCHEDULES = frozenset(get_args(Schedule))
IDLE: dict[str, tuple[str, frozenset[object]]] = {
    "squeeze_where": ("layers", frozenset({1})),  # the only stage is the last one
    "body_rate": ("unfreeze", frozenset({"none"})),
    "patience": ("schedule", _SCHEDULES - {"plateau"}),
    "factor": ("schedule", _SCHEDULES - {"plateau", "step"}),
}

# Values that came later than their families, and what it means where they are not named.
FORMERLY: dict[str, Any] = {"block": "basic", "blocks": 1, "averaging": "none"}


# Values that came later and are None unless a study names them; then they are not written down.
LATER = frozenset({"epoch_images"})


def has(family: object, name: str) -> bool:
    """Whether a value of a configuration means something to a family."""
    return isinstance(family, str) and family in OWN_VALUES.get(name, _ALL)


def is_idle(name: str, values: Mapping[str, object]) -> bool:
    """Whether nothing reads a value of a configuration beside its other `values`."""
    other, beside = IDLE.get(name, ("", frozenset()))
    return other in values and values[other] in beside


class Pretrained(Section):
    """Where the weights of pretrained networks come from.

    `weights` is a file of torchvision's, or a folder of such files under torchvision's own names;
    without it they lie in torch's own cache, and `download` may bring them there.
    """

    weights: Annotated[str | None, no_longer_than(PATH_LENGTH)] = None
    download: bool = False


def odd(size: int) -> int:
    """Return an odd number; ValueError where it is even, and padding could not keep the map."""
    if size % 2 == 0:
        raise ValueError(f"{size} is even; use an odd number, such as {size + 1}")
    return size


def _own(**limits: Any) -> Any:
    """Return a field that only some families have: it is None in others, where nothing reads it."""
    return Field(default=None, **limits)


class TrialConfig(BaseModel):
    """Every value that decides one training; what `export` writes and `train` reads.

    Sizes are counts (filters, units, layers, images in a batch), `kernel_size` and `shift` are
    pixels, `weight_decay` and `dropout` are per step and per unit as torch defines them. A batch
    is trained on in `micro_batches` parts whose gradients are added up, where memory is short;
    batch normalisation then sees the parts. An epoch is a pass over the training images, or
    `epoch_images` of them, where the next epoch goes on with the rest of the pass.
    `early_stopping` is how many epochs the test loss may stay above its lowest while the train loss
    falls; then, or at the end, the weights of the epoch with the best test metric count. Without it
    all epochs are trained, and the last one counts.
    With `averaging` the weights are the mean of those of many steps, in every score and in the end.
    A value that its family does not have (`OWN_VALUES`) is None, and is left out where a
    configuration is written down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task = "single-label"
    loss: Loss = "cross-entropy"
    metric: Metric = "accuracy"
    family: Family
    filters: Annotated[int, at_most_of("filters")] = _own(ge=1)
    layers: Annotated[int, at_most_of("layers")] = _own(ge=1)
    kernel_size: Annotated[int, AfterValidator(odd), at_most_of("kernel_size")] = _own(ge=1)
    units1: Annotated[int, at_most_of("units1")] = Field(ge=1)
    units2: Annotated[int, at_most_of("units2")] = Field(ge=1)
    activation: Activation
    pooling: Pooling = _own()
    batch_norm: bool = _own()
    convolutions: Annotated[int, at_most_of("convolutions")] = _own(ge=1)
    reduction: Annotated[int, at_most_of("reduction")] = _own(ge=1)
    block: Block = _own()
    blocks: Annotated[int, at_most_of("blocks")] = _own(ge=1)
    squeeze: Annotated[int, at_most_of("squeeze")] = _own(ge=1)
    squeeze_where: SqueezeWhere = _own()
    backbone: Backbone = _own()
    unfreeze: Unfreeze = _own()
    body_rate: float = _own(gt=0, le=1)
    pretrained: Pretrained = _own()
    dropout: float = Field(ge=0, lt=1)
    optimizer: Optimizer
    learning_rate: Annotated[float, at_most_of("learning_rate")] = Field(gt=0)
    weight_decay: Annotated[float, at_most_of("weight_decay")] = Field(ge=0)
    batch_size: Annotated[int, at_most_of("batch_size")] = Field(ge=1)
    schedule: Schedule
    averaging: Averaging = "none"
    patience: Annotated[int, at_most_of("patience")] = Field(ge=0)
    factor: float = Field(0.3, gt=0, lt=1)
    label_smoothing: float = Field(ge=0, lt=1)
    flip: bool
    shift: Annotated[int, at_most_of("shift")] = Field(ge=0)
    epochs: Annotated[int, at_most(EPOCHS)] = Field(ge=1)
    epoch_images: Annotated[int | None, at_most(IMAGES)] = Field(None, ge=1)
    early_stopping: Annotated[int | None, at_most(EPOCHS)] = Field(None, ge=1)
    seed: Annotated[int, at_most(SEED)] = Field(ge=0)
    micro_batches: Annotated[int, at_most_of("batch_size")] = Field(1, ge=1)
    precision: Precision
    threads: Annotated[int, at_most(WORKER_THREADS)] = Field(ge=1)
    data: DataReference

    @model_validator(mode="after")
    def _fits_the_task(self) -> TrialConfig:
        wrong = loss_misfit(self.task, self.loss) or metric_misfit(self.task, self.metric)
        if wrong is None and self.label_smoothing > 0:
            wrong = smoothing_misfit(self.loss)
        if wrong is not None:
            raise ValueError(wrong)
        return self

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, written: Any) -> Any:
        if isinstance(written, dict):
            family = written.get("family")
            return {k: v for k, v in FORMERLY.items() if has(family, k)} | written
        return written

    @model_validator(mode="after")
    def _has_what_its_family_has(self) -> TrialConfig:
        for name in OWN_VALUES:
            given = getattr(self, name) is not None
            if given and not has(self.family, name):
                raise ValueError(f"{name}: {self.family} has no such value; leave it out")
            if not given and has(self.family, name):
                raise ValueError(f"{name} is missing, and {self.family} needs it")
        return self

    @model_serializer(mode="wrap")
    def _without_what_others_have(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = written(self)
        unsaid = [name for name in LATER if values[name] is None]
        return {n: v for n, v in values.items() if has(self.family, n) and n not in unsaid}

    def images_in_epoch(self, train: int) -> int:
        """Return how many of so many training images an epoch has; a batch has no more."""
        return train if self.epoch_images is None else min(self.epoch_images, train)
