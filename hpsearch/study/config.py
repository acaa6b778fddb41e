"""`TrialConfig`: every value that decides one training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hpsearch.study.data import DataReference, Task
from hpsearch.study.tasks import Loss, Metric, loss_misfit, metric_misfit, smoothing_misfit

Family = Literal["alexnet", "resnet"]
Optimizer = Literal["adam", "adamw", "sgd"]
Activation = Literal["relu", "leaky_relu", "gelu", "silu", "elu"]
Pooling = Literal["max", "average"]
Schedule = Literal["one-cycle", "cosine", "plateau", "step", "constant"]
Precision = Literal["fp32", "bf16"]


def odd(size: int) -> int:
    """Return an odd number; ValueError where it is even, and padding could not keep the map."""
    if size % 2 == 0:
        raise ValueError(f"{size} is even; use an odd number, such as {size + 1}")
    return size


class TrialConfig(BaseModel):
    """Every value that decides one training; what `export` writes and `train` reads.

    Sizes are counts (filters, units, layers, images in a batch), `kernel_size` and `shift` are
    pixels, `weight_decay` and `dropout` are per step and per unit as torch defines them. A batch
    is trained on in `micro_batches` parts whose gradients are added up, where memory is short;
    batch normalisation then sees the parts. `early_stopping` is how many epochs the test loss may
    stay above its lowest while the train loss falls; then, or at the end, the weights of the epoch
    with the best test metric count. Without it all epochs are trained, and the last one counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task = "single-label"
    loss: Loss = "cross-entropy"
    metric: Metric = "accuracy"
    family: Family
    filters: int = Field(ge=1)
    layers: int = Field(ge=1)
    kernel_size: Annotated[int, Field(ge=1), AfterValidator(odd)]
    units1: int = Field(ge=1)
    units2: int = Field(ge=1)
    activation: Activation
    pooling: Pooling
    batch_norm: bool
    dropout: float = Field(ge=0, lt=1)
    optimizer: Optimizer
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    batch_size: int = Field(ge=1)
    schedule: Schedule
    patience: int = Field(ge=0)
    factor: float = Field(0.3, gt=0, lt=1)
    label_smoothing: float = Field(ge=0, lt=1)
    flip: bool
    shift: int = Field(ge=0)
    epochs: int = Field(ge=1)
    early_stopping: int | None = Field(None, ge=1)
    seed: int = Field(ge=0)
    micro_batches: int = Field(1, ge=1)
    precision: Precision
    threads: int = Field(ge=1)
    data: DataReference

    @model_validator(mode="after")
    def _fits_the_task(self) -> TrialConfig:
        wrong = loss_misfit(self.task, self.loss) or metric_misfit(self.task, self.metric)
        if wrong is None and self.label_smoothing > 0:
            wrong = smoothing_misfit(self.loss)
        if wrong is not None:
            raise ValueError(wrong)
        return self
