"""The files of torchvision's pretrained weights: where they lie, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.errors import WeightsError
from hpsearch.study.config import Backbone, Pretrained
from hpsearch.study.spec import StudySpec

if TYPE_CHECKING:  # torch is imported late: a launch asks here, and few studies have weights
    from torch import Tensor


def find_weights(backbone: Backbone, place: Pretrained) -> Path:
    """Return the file of a network's weights, downloaded where that is allowed.

    Raises WeightsError, which says which file is missing and where to put it.
    """
    import torch

    url = _published(backbone).url
    name = url.rsplit("/", 1)[1]
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    named = cache if place.weights is None else Path(place.weights).expanduser()
    file = named / name if named.is_dir() or place.weights is None else named
    if file.is_file():
        return file
    if place.weights is not None:
        raise WeightsError(
            f"pretrained.weights: there is no {file}; name the file of {backbone}'s weights, or a "
            f"folder with {name} ({url})"
        )
    if not place.download:
        raise WeightsError(
            f"the weights of {backbone} are not here: put {name} ({url}) into {cache}, say with "
            "pretrained.weights where it lies, or let it be fetched with pretrained.download: true"
        )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        digest = name.removesuffix(".pth").rsplit("-", 1)[1]  # part of its name is its hash
        torch.hub.download_url_to_file(url, str(file), digest, progress=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"the weights of {backbone} could not be fetched: {error}; put {name} ({url}) into "
            f"{cache}"
        ) from None
    return file


def read_weights(backbone: Backbone, place: Pretrained) -> tuple[Path, dict[str, Tensor]]:
    """Return the file of a network's weights and what is in it, by torchvision's names.

    Nothing in the file is run: torch reads tensors alone.
    """
    import torch

    file = find_weights(backbone, place)
    try:
        stored: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch, zipfile or pickle make of broken bytes
        said = str(error).split("\n", maxsplit=1)[0]
        raise WeightsError(f"{file}: cannot be read as weights: {said}") from None
    if not isinstance(stored, dict) or not all(
        isinstance(t, torch.Tensor) for t in stored.values()
    ):
        raise WeightsError(f"{file}: holds no state dict; expected the weights of {backbone} alone")
    return file, dict(stored)


def statistics(backbone: Backbone) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation `(3,)` of the colours that a network was trained with.

    Of colours between 0 and 1: those of ImageNet.
    """
    import torch

    preset = _published(backbone).transforms()
    return torch.tensor(preset.mean), torch.tensor(preset.std)


def check_weights(spec: StudySpec) -> None:
    """Raise WeightsError where a study wants pretrained networks whose weights are not here.

    They are downloaded where that is allowed: once, before many workers ask for the same file.
    """
    if "pretrained" in spec.space.families():
        _, axis = spec.space.axis_of("backbone", "pretrained")
        for backbone in axis.points() or ():
            find_weights(backbone, spec.pretrained)  # type: ignore[arg-type]


def _published(backbone: Backbone) -> Any:
    # Late, for it takes a second, which workers of other families do not have to wait.
    from torchvision.models import get_model_weights

    return get_model_weights(backbone).DEFAULT
