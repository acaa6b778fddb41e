"""Whether the order of positions means anything; where it does not, convolutions are no good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpsearch.data.batches import resident
from hpsearch.data.prepared import Labelled, Prepared, SearchData, load_search_data
from hpsearch.evaluation.measures import Interval, gained
from hpsearch.machine.children import Tell, device_named, in_child
from hpsearch.preflight.probing import sampled
from hpsearch.study.limits import STORED
from hpsearch.study.spec import StudySpec
from hpsearch.study.tasks import MINIMISED
from hpsearch.training.loop import outputs_of, train
from hpsearch.training.precision import faster_precision

EPOCHS = 6  # at most
TAUGHT, TESTED = 6000, 2000  # images, at most


@dataclass(frozen=True)
class Locality:
    """Test scores of one short training on data as it is, and with its positions shuffled.

    `gain` is the first less the second, `interval` its 95 % interval over the same images, None
    where they do not tell. `matters` is whether the data as it is does better beyond chance.
    """

    as_it_is: float
    shuffled: float
    gain: float
    interval: Interval | None
    matters: bool
    epochs: int
    images: int  # of test


def locality(spec: StudySpec, prepared: Prepared, device: str = "auto") -> Locality:
    """Train the default configuration twice, the second time on images whose positions are
    exchanged, in all of them alike; takes as long as a dozen epochs of 6,000 images at most.

    LeCun, Bengio and Hinton, "Deep learning", 2015: convolutions are for data in which
    neighbours belong together. Augmentation is left out, for it shifts what is not shuffled.
    """
    found: Locality = in_child(_paired, spec.model_dump_json(), prepared.folder, device, threads=1)
    return found


def _paired(tell: Tell, written: str, prepared: Path, device_name: str) -> Locality:
    spec = StudySpec.model_validate_json(written, context=STORED)
    device = device_named(device_name)
    data = _part(load_search_data(prepared))
    precision = faster_precision(spec.search.precision, data, device)
    (config,) = sampled(spec, data.fingerprint, precision, 1)
    epochs = min(config.epochs, EPOCHS)
    changes = {"epochs": epochs, "flip": False, "shift": 0, "early_stopping": None}
    config = config.model_copy(update=changes)
    outputs = []
    for given in (data, shuffled(data)):
        for _, training in train(config, given, device):  # noqa: B007 - the last one counts
            pass
        test = resident(given.test, given, device)
        outputs.append(outputs_of(training.model, test, config))
    task = training.task
    as_it_is, mixed = (task.metric(each, test.targets) for each in outputs)
    predictions, instead = (task.predictions(each) for each in outputs)
    gain, interval = gained(
        task.name, config.metric, predictions, instead, test.targets.cpu(), data.test.groups
    )
    worse = config.metric in MINIMISED
    beyond_chance = interval is not None and (interval[1] < 0 if worse else interval[0] > 0)
    return Locality(as_it_is, mixed, gain, interval, beyond_chance, epochs, len(test))


def shuffled(data: SearchData, seed: int = 0) -> SearchData:
    """Return data with the positions of every image exchanged in the same way."""
    height, width = data.train.images.shape[1:3]
    order = np.random.default_rng(seed).permutation(height * width)

    def exchanged(split: Labelled) -> Labelled:
        n, height, width, channels = split.images.shape
        flat = np.asarray(split.images).reshape(n, height * width, channels)
        return replace(split, images=flat[:, order].reshape(split.images.shape))

    return replace(data, train=exchanged(data.train), test=exchanged(data.test))


def _part(data: SearchData) -> SearchData:
    """Return at most so many images of each split, drawn at random."""

    def drawn(split: Labelled, most: int) -> Labelled:
        rows = np.sort(np.random.default_rng(0).permutation(len(split))[:most])
        groups = None if split.groups is None else split.groups[rows]
        return Labelled(np.asarray(split.images[rows]), split.targets[rows], groups)

    return replace(data, train=drawn(data.train, TAUGHT), test=drawn(data.test, TESTED))
