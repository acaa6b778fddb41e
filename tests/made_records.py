"""Records of finals and of finalists, whole where a test says only what it is about."""

from __future__ import annotations

from typing import Any

from hpsearch.storage.final_record import ConfigRecord, FinalRecord
from hpsearch.storage.records import ConfirmationRecord

EPOCH = {"epoch": 1, "train_loss": 1.0, "train_metric": 0.5, "test_loss": 1.0, "test_metric": 0.5,
         "duration_s": 1.0}  # fmt: skip
SCORES = {"accuracy": 0.6, "interval": [0.4, 0.8], "images": 20, "loss": 1.0}
OF_CLASSES = {"confusion": [[1, 0], [0, 1]], "per_class": [
    {"precision": 1.0, "recall": 1.0, "f1": 1.0, "images": 10}] * 2}  # fmt: skip


def final_record(**parts: Any) -> FinalRecord:
    """Return what an opening showed of trial 0, but for the parts that are given."""
    whole = {"trial": 0, "outputs": ["cat", "dog"], "curve": [EPOCH], "train": SCORES,
             "test": SCORES, "validation": SCORES | OF_CLASSES, "config": {}}  # fmt: skip
    return FinalRecord.model_validate(whole | parts)


def config_record(**parts: Any) -> ConfigRecord:
    return ConfigRecord.model_validate(parts)


def confirmation_record(**parts: Any) -> ConfirmationRecord:
    return ConfirmationRecord.model_validate(parts)
