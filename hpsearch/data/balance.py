"""How the classes or labels are spread over the splits, as far as it is worth a word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.findings import Finding
from hpsearch.data.near_names import missing_names_finding, near_names_finding
from hpsearch.data.sources.decoded import Decoded

FEWEST = 10  # images of a class in test or validation; with fewer, one image is above 10 %
SKEW = 10  # times as many images of one class as of another
DRIFT = 0.05  # of the images would have to change their class to make two splits alike
SHOWN = 5


def balance_findings(decoded: Decoded, split: NDArray[np.int64]) -> list[Finding]:
    """Return what a reader of scores must know of class counts; `split` is 0, 1 or 2 `(N,)`."""
    if decoded.task == "regression":
        return []
    counts = np.stack([_counts(decoded, split == number) for number in range(3)], axis=1)
    word = "classes" if decoded.task == "single-label" else "labels"
    found = [_few(decoded.outputs, counts, word), _skewed(decoded.outputs, counts, word)]
    found.append(near_names_finding(decoded.outputs, counts, word))
    found.append(missing_names_finding(decoded.outputs, counts, word))
    if decoded.task == "single-label":
        found.append(_drifted(counts))
    return [finding for finding in found if finding is not None]


def _counts(decoded: Decoded, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the images of each class or label `(outputs,)` among some rows."""
    targets = decoded.targets[rows]
    if decoded.task == "single-label":
        return np.bincount(targets, minlength=len(decoded.outputs))
    return np.asarray(targets.sum(axis=0), np.int64)


def _few(outputs: tuple[str, ...], counts: NDArray[np.int64], word: str) -> Finding | None:
    fewest = counts[:, 1:].min(axis=1)
    few = np.flatnonzero(fewest < FEWEST)
    if not len(few):
        return None
    few = few[np.argsort(fewest[few], kind="stable")]
    return Finding(
        "few-images-of-a-class",
        int(counts[few, 1:].sum()),
        f"{len(few)} of {len(outputs)} {word} have fewer than {FEWEST} images in test or "
        "validation: their own scores are mostly luck",
        "add images, or look at the scores of all classes together",
        tuple(f"{outputs[i]}: {counts[i, 1]} test, {counts[i, 2]} validation" for i in few[:SHOWN]),
    )


def _skewed(outputs: tuple[str, ...], counts: NDArray[np.int64], word: str) -> Finding | None:
    train = counts[:, 0]
    most, least = int(train.argmax()), int(train.argmin())
    if train[most] < SKEW * max(1, train[least]):
        return None
    return Finding(
        "skewed-classes",
        int(train.sum()),
        f"the {word} are skewed: {train[most]} train images of '{outputs[most]}', "
        f"{train[least]} of '{outputs[least]}'; accuracy hardly sees the rare ones",
        "add images of the rare ones, or read the scores of each class",
    )


def _drifted(counts: NDArray[np.int64]) -> Finding | None:
    """Tell where test or validation has other shares of classes than train."""
    shares = counts / counts.sum(axis=0)
    drift = np.abs(shares - shares[:, :1]).sum(axis=0) / 2  # the total variation distance
    number = int(drift.argmax())
    # Of a stratified split each class is off by less than one image.
    if drift[number] <= max(DRIFT, len(counts) / counts[:, number].sum()):
        return None
    name = ("train", "test", "validation")[number]
    return Finding(
        "drifted-classes",
        int(counts[:, number].sum()),
        f"{name} has other shares of classes than train: {drift[number]:.0%} of it would have to "
        "be of another class",
        "split by shares instead of an official part, where they should be alike",
    )
