"""Hyperparameter search for convolutional networks: one study file in, one model out.

What is named here is public and kept; modules below are not. Names are looked up when they are
first used, so that `import hpsearch` costs next to nothing and loads neither torch nor Optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpsearch.errors import HpsearchError
    from hpsearch.evaluation.model_file import TrainedModel, load_model
    from hpsearch.reports.frames import StudyFrames, open_study
    from hpsearch.service.launch import Outcome, launch
    from hpsearch.study.file import read_study
    from hpsearch.study.spec import StudySpec

    __version__: str

__all__ = [
    "HpsearchError",
    "Outcome",
    "StudyFrames",
    "StudySpec",
    "TrainedModel",
    "__version__",
    "launch",
    "load_model",
    "open_study",
    "read_study",
]

_HOMES = {
    "HpsearchError": "hpsearch.errors",
    "Outcome": "hpsearch.service.launch",
    "StudyFrames": "hpsearch.reports.frames",
    "StudySpec": "hpsearch.study.spec",
    "TrainedModel": "hpsearch.evaluation.model_file",
    "launch": "hpsearch.service.launch",
    "load_model": "hpsearch.evaluation.model_file",
    "open_study": "hpsearch.reports.frames",
    "read_study": "hpsearch.study.file",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        found: Any = importlib.import_module("importlib.metadata").version("hpsearch")
    elif name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'hpsearch' has no attribute '{name}'")
    globals()[name] = found  # looked up once
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
