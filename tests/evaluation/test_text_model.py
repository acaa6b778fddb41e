"""A model of texts, read from its file, says of symbols what it said in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from made_trainings import CPU, config

from hpsearch.data.batches import resident
from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.data.sources.text import symbols_of
from hpsearch.evaluation.model_file import load_model, save_model
from hpsearch.study.data import DataReference, Text
from hpsearch.training.loop import outputs_of, train

OPTIONS = Text(length=12, alphabet="abcdef")


def test_a_saved_model_of_texts_is_asked_with_symbols(tmp_path: Path) -> None:
    texts = ["abc abc", "fed fed", "cab", "def"] * 20
    part = Labelled(symbols_of(texts, OPTIONS), np.array([0, 1] * 40))
    six = (6**-0.5,) * 6
    data = SearchData(
        part, part, "single-label", ("low", "high"), (0.0,) * 6, six, "texts", symbols=6
    )
    reference = DataReference(source="text", root="texts.csv", text=OPTIONS, fingerprint="texts")
    settings = config(data=reference, flip=False, epochs=10)
    *_, (epoch, training) = train(settings, data, CPU)
    assert epoch.test_metric > 0.9
    path = tmp_path / "model.safetensors"
    save_model(path, training.model, settings, data)
    said = load_model(path).probabilities(torch.from_numpy(symbols_of(texts, OPTIONS)))
    logits = outputs_of(training.model, resident(part, data, CPU), settings)
    torch.testing.assert_close(said, logits.softmax(1), atol=1e-5, rtol=1e-4)
