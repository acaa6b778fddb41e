"""Trained weights in a file that says itself what they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from scipy.special import expit, softmax
from torch import Tensor, nn

from hpsearch.data.batches import Resident, palette
from hpsearch.data.prepared import SearchData
from hpsearch.errors import HpsearchError
from hpsearch.machine.files import write_whole
from hpsearch.models.families import build_model
from hpsearch.models.layers import ImageShape
from hpsearch.study.config import TrialConfig
from hpsearch.study.data import Task
from hpsearch.study.limits import STORED
from hpsearch.training.loop import predict
from hpsearch.training.tasks import target_statistics

Images = Tensor | NDArray[np.uint8]

# What a model file may claim; sources give images of 255 channels and sides of 8,192 at most.
MOST_OUTPUTS, LONGEST_SIDE = 100_000, 8192


@dataclass(frozen=True)
class TrainedModel:
    """A network with its weights, and what its input and output mean."""

    model: nn.Module
    config: TrialConfig
    outputs: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int, int]  # channels, height, width
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    temperature: float = 1.0

    def probabilities(self, images: Images) -> Tensor:
        """Return `(N, outputs)` probabilities of uint8 images `(N, height, width, channels)`.

        NumPy's and torch's are the same. Texts are given as `symbols_of` returns them: `(N, 1,
        length, 1)`. Probabilities of classes add up to 1, those of labels stand for themselves.
        Raises HpsearchError for numbers, and for images of another kind than the network learnt.
        """
        if self.config.task == "regression":
            raise HpsearchError("this network tells numbers, not probabilities; use numbers()")
        outputs = self.outputs_of(images) / self.temperature
        return outputs.sigmoid() if self.config.task == "multi-label" else outputs.softmax(1)

    def numbers(self, images: Images) -> Tensor:
        """Return `(N, outputs)` numbers of a regression, in their own units."""
        if self.config.task != "regression":
            raise HpsearchError("this network tells no numbers; use probabilities()")
        return self.outputs_of(images) * torch.tensor(self.target_std) + torch.tensor(
            self.target_mean
        )

    def outputs_of(self, images: Images) -> Tensor:
        """Return what the network itself gives `(N, outputs)`, in fp32, as training and final do.

        On the same machine with `config.threads` threads to the last bit.
        """
        images = self._checked(images)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        symbols = palette(mean, std) if self.config.data.source == "text" else None
        split = Resident(images, torch.zeros(len(images)), mean, 1 / std.clamp_min(1e-3), symbols)
        outputs = predict(self.model, split, self.config)
        assert outputs is not None
        return outputs

    def _checked(self, images: object) -> Tensor:
        """Return images as a tensor on the CPU; HpsearchError says what was wanted and what given.

        Nothing is converted: numbers from 0 to 1, or a batch the other way round, would be answered
        wrongly without a word.
        """
        wanted = self._wanted()
        if not isinstance(images, Tensor | np.ndarray):
            raise HpsearchError(f"{wanted}; got {type(images).__name__}")
        given = f"got {images.dtype} of shape {tuple(images.shape)}"
        if images.dtype not in (torch.uint8, np.uint8):
            raise HpsearchError(f"{wanted}; {given}")
        channels, height, width = self.image_shape
        text = self.config.data.source == "text"
        if tuple(images.shape[1:]) != (height, width, 1 if text else channels):
            raise HpsearchError(f"{wanted}; {given}")
        if not len(images):
            raise HpsearchError(f"{wanted}, one at least; {given}")
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(np.array(images))  # torch takes no read-only, no reversed one
        if text and int(images.max()) > channels:
            raise HpsearchError(
                f"{wanted}, of {channels} symbols; got a symbol {int(images.max())}, which the "
                "alphabet does not have"
            )
        return images.detach().cpu()

    def _wanted(self) -> str:
        channels, height, width = self.image_shape
        if self.config.data.source == "text":
            return f"expected symbols, uint8 (N, 1, {width}, 1), as symbols_of returns them"
        return (
            f"expected images, uint8 (N, height, width, channels) of {height} x {width} x "
            f"{channels}, grey levels 0 to 255"
        )


def probabilities_of(task: Task, logits: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Return probabilities `(N, outputs)` of logits that a temperature divides first."""
    scaled = logits.astype(np.float64) / temperature
    found: NDArray[np.float64] = expit(scaled) if task == "multi-label" else softmax(scaled, axis=1)
    return found


def save_model(
    path: Path,
    model: nn.Module,
    config: TrialConfig,
    data: SearchData,
    temperature: float | None = None,
) -> None:
    """Write a model's weights as safetensors, with config, outputs and statistics as metadata.

    Raises RunsFolderError where the file cannot be written; one that was there is left alone.
    """
    weights = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    units = target_statistics(data) if config.task == "regression" else ()
    target_mean, target_std = (unit.tolist() for unit in units) if units else ([], [])
    metadata = {
        "config": config.model_dump_json(),
        "outputs": json.dumps(data.outputs),
        "mean": json.dumps(data.mean),
        "std": json.dumps(data.std),
        "image_shape": json.dumps(data.image_shape),
        "target_mean": json.dumps(target_mean),
        "target_std": json.dumps(target_std),
        "temperature": json.dumps(temperature or 1.0),
    }
    write_whole(path, save(weights, metadata))


def load_model(path: str | Path) -> TrainedModel:
    """Return the model that `save_model` wrote; HpsearchError says what is wrong with a file."""
    path = Path(path)
    try:
        if not path.is_file():
            raise HpsearchError(f"{path}: there is no such file; a launch writes it when it ends")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            about = _About.read(metadata)
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = _with_weights(about, weights)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _broken(path, f"{where}: {first['msg']}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise _broken(path, str(error)) from None
    return TrainedModel(
        model.to(memory_format=torch.channels_last),
        about.config,
        about.outputs,
        about.mean,
        about.std,
        about.image_shape,
        about.target_mean,
        about.target_std,
        about.temperature,
    )


def _broken(path: Path, why: str) -> HpsearchError:
    words = " ".join(why.split())
    return HpsearchError(f"{path}: is not a model that hpsearch wrote: {words[:300]}")


Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Several = Annotated[tuple[Finite, ...], Field(max_length=MOST_OUTPUTS)]
Side = Annotated[int, Field(ge=1, le=LONGEST_SIDE, strict=True)]


class _About(BaseModel):
    """What the metadata of a model file says, checked against itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    config: TrialConfig
    outputs: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_OUTPUTS)]
    image_shape: tuple[Side, Side, Side]
    mean: Several
    std: Annotated[tuple[Annotated[Finite, Field(ge=0)], ...], Field(max_length=MOST_OUTPUTS)]
    target_mean: Several = ()
    target_std: Annotated[tuple[Annotated[Finite, Field(gt=0)], ...], Field()] = ()
    temperature: Annotated[Finite, Field(gt=0)] = 1.0

    @classmethod
    def read(cls, metadata: dict[str, str]) -> _About:
        """Return what stands in a file; ValueError or ValidationError where it cannot be used."""
        read: dict[str, Any] = {}
        for key, text in metadata.items():
            if key in cls.model_fields:
                try:
                    read[key] = json.loads(text)
                except (ValueError, RecursionError):
                    raise ValueError(f"{key}: {text[:40]!r} is not JSON") from None
        # How long it was trained is no matter here, so a study of an earlier version may be above.
        return cls.model_validate(read, context=STORED)

    @model_validator(mode="after")
    def _fits_together(self) -> _About:
        channels = self.image_shape[0]
        if len(self.mean) != channels or len(self.std) != channels:
            raise ValueError(f"mean and std are not of {channels} channel(s), as image_shape is")
        numbers = len(self.outputs) if self.config.task == "regression" else 0
        if len(self.target_mean) != numbers or len(self.target_std) != numbers:
            raise ValueError(f"target_mean and target_std are not of {numbers} number(s)")
        if self.config.data.source == "text" and self.image_shape[1] != 1:
            raise ValueError("image_shape: a text is one pixel high")
        return self


def _with_weights(about: _About, weights: dict[str, Tensor]) -> nn.Module:
    """Return the network of a file with its weights; ValueError where they are not its own."""
    shape = ImageShape(*about.image_shape)
    with torch.device("meta"):  # before anything is allocated that the file may only claim
        wanted = build_model(about.config, shape, len(about.outputs)).state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights or name not in wanted:
            what = "is missing" if name in wanted else "belongs to no part of this network"
            raise ValueError(f"the tensor '{name}' {what}")
        stated, given = wanted[name], weights[name]
        if (stated.shape, stated.dtype) != (given.shape, given.dtype):
            raise ValueError(
                f"the tensor '{name}' is {given.dtype} of shape {tuple(given.shape)}; expected "
                f"{stated.dtype} of {tuple(stated.shape)}"
            )
        if given.is_floating_point() and not bool(given.isfinite().all()):
            raise ValueError(f"the tensor '{name}' holds values that are no finite number")
        if name.endswith("running_var") and bool((given < 0).any()):
            raise ValueError(f"the tensor '{name}' holds variances below 0")
    model = build_model(about.config, shape, len(about.outputs))
    model.load_state_dict(weights)
    return model
