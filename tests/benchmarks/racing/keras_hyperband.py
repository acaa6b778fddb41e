"""A peer in the race: KerasTuner's Hyperband on Keras with torch behind it, arrays in memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import keras_tuner
import numpy as np
from racing.lines import Lines, asked

EPOCHS = 10
ROUNDS = 100  # of Hyperband; the time is up before


def arrays(splits: Path, name: str) -> tuple[Any, Any]:
    """Return the images `(N, 28, 28, 1)` of a split between 0 and 1, and its targets."""
    with np.load(splits / f"{name}.npz") as found:
        return found["images"][..., None].astype("float32") / 255, found["targets"]


def network(hp: keras_tuner.HyperParameters) -> keras.Model:
    """Return the compiled network of a trial."""
    filters = hp.Int("filters", 16, 128, step=8)
    kernel = hp.Choice("kernel_size", [3, 5])
    layers: list[Any] = [keras.Input((28, 28, 1))]
    for _ in range(hp.Int("layers", 1, 4)):
        layers += [
            keras.layers.Conv2D(filters, kernel, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        ]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(hp.Int("units1", 32, 128, step=8), activation="relu"),
        keras.layers.Dense(hp.Int("units2", 32, 128, step=8), activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
    model = keras.Sequential(layers)
    rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    optimizers = {
        "adam": lambda: keras.optimizers.Adam(rate),
        "adamw": lambda: keras.optimizers.AdamW(rate),
        "sgd": lambda: keras.optimizers.SGD(rate, momentum=0.9),
    }
    model.compile(
        optimizer=optimizers[hp.Choice("optimizer", list(optimizers))](),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


class Network(keras_tuner.HyperModel):  # type: ignore[misc]  # it has no types
    """The network, its batch size, and what is said of each of its epochs."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._lines = folder, Lines.of(folder)
        self._begun = -1

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        return network(hp)

    def fit(self, hp: Any, model: keras.Model, *given: Any, **more: Any) -> Any:
        self._begun += 1  # Hyperband goes on with the best of a round as a new trial
        trial, lines, folder = self._begun, self._lines, self._folder
        batch = hp.Int("batch_size", 32, 256, step=32)
        values = {k: v for k, v in hp.values.items() if not k.startswith("tuner/")}
        lines.begun(trial, values | {"goes_on_at": hp.values.get("tuner/initial_epoch", 0)})

        class Saying(keras.callbacks.Callback):  # type: ignore[misc]
            def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
                test = (logs or {})["val_accuracy"]
                lines.epoch(trial, epoch + 1, test)
                keep(folder, test, hp, self.model)
                if epoch + 1 == EPOCHS:
                    lines.complete(trial)

        more["callbacks"] = [*more.get("callbacks", []), Saying()]
        return model.fit(*given, batch_size=batch, **more)


def keep(folder: Path, test: float, hp: Any, model: keras.Model) -> None:
    """Keep a network, if it is the best on test so far."""
    place = folder / "best"
    place.mkdir(exist_ok=True)
    if test > max((float(path.stem) for path in place.glob("*.json")), default=0.0):
        model.save_weights(place / f"{test:.6f}.weights.h5")
        (place / f"{test:.6f}.json").write_text(json.dumps(hp.values))


def validate(folder: Path, splits: Path) -> tuple[float, float]:
    """Return the accuracy on validation of what was kept as the best, and the one on test."""
    best = max((folder / "best").glob("*.json"), key=lambda path: float(path.stem))
    hp = keras_tuner.HyperParameters()
    hp.values = json.loads(best.read_text())
    model = network(hp)
    model.load_weights(best.with_name(f"{best.stem}.weights.h5"))
    _, accuracy = model.evaluate(*arrays(splits, "validation"), verbose=0)
    return accuracy, float(best.stem)


def main() -> None:
    folder, splits, seconds, seed = asked()
    if seconds <= 0:
        Lines.of(folder).validation(*validate(folder, splits))
        return
    keras.utils.set_random_seed(seed)
    tuner = keras_tuner.Hyperband(
        Network(folder),
        objective="val_accuracy",
        max_epochs=EPOCHS,
        hyperband_iterations=ROUNDS,
        seed=seed,
        directory=folder / "tuner",
        project_name="race",
    )
    images, targets = arrays(splits, "train")
    tuner.search(images, targets, validation_data=arrays(splits, "test"), verbose=0)


if __name__ == "__main__":
    main()
