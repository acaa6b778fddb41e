"""Trained weights in a file that says itself what they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from scipy.special import expit, softmax
from torch import Tensor, nn

from hpsearch.data.batches import Resident, palette
from hpsearch.data.prepared import SearchData
from hpsearch.errors import HpsearchError
from hpsearch.models.families import build_model
from hpsearch.models.head import ImageShape
from hpsearch.results.export import write_whole
from hpsearch.study.config import TrialConfig
from hpsearch.study.data import Task
from hpsearch.training.loop import predict
from hpsearch.training.tasks import target_statistics


@dataclass(frozen=True)
class TrainedModel:
    """A network with its weights, and what its input and output mean."""

    model: nn.Module
    config: TrialConfig
    outputs: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    temperature: float = 1.0

    def probabilities(self, images: Tensor) -> Tensor:
        """Return `(N, outputs)` probabilities of uint8 images `(N, height, width, channels)`.

        Texts are given as `symbols_of` returns them: `(N, 1, length, 1)`. Probabilities of classes
        add up to 1, those of labels stand for themselves. Raises HpsearchError for numbers.
        """
        if self.config.task == "regression":
            raise HpsearchError("this network tells numbers, not probabilities; use numbers()")
        outputs = self.outputs_of(images) / self.temperature
        return outputs.sigmoid() if self.config.task == "multi-label" else outputs.softmax(1)

    def numbers(self, images: Tensor) -> Tensor:
        """Return `(N, outputs)` numbers of a regression, in their own units."""
        if self.config.task != "regression":
            raise HpsearchError("this network tells no numbers; use probabilities()")
        return self.outputs_of(images) * torch.tensor(self.target_std) + torch.tensor(
            self.target_mean
        )

    def outputs_of(self, images: Tensor) -> Tensor:
        """Return what the network itself gives `(N, outputs)`, in fp32, as training and final do.

        On the same machine with `config.threads` threads to the last bit.
        """
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        symbols = palette(mean, std) if self.config.data.source == "text" else None
        split = Resident(images, torch.zeros(len(images)), mean, 1 / std.clamp_min(1e-3), symbols)
        outputs = predict(self.model, split, self.config)
        assert outputs is not None
        return outputs


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
    """Return the model that `save_model` wrote."""
    path = Path(path)
    if not path.is_file():
        raise HpsearchError(f"{path}: there is no such file; a launch writes it when it ends")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config = TrialConfig.model_validate_json(metadata["config"])
    outputs = tuple(json.loads(metadata["outputs"]))
    model = build_model(config, ImageShape(*json.loads(metadata["image_shape"])), len(outputs))
    model.load_state_dict(weights)
    mean, std = (tuple(json.loads(metadata[key])) for key in ("mean", "std"))
    return TrainedModel(
        model.to(memory_format=torch.channels_last),
        config,
        outputs,
        mean,
        std,
        tuple(json.loads(metadata.get("target_mean", "[]"))),
        tuple(json.loads(metadata.get("target_std", "[]"))),
        json.loads(metadata.get("temperature", "1.0")),
    )
