"""Every public function of the search and the training is tried, and none gives validation away."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from made_configs import config_with

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import SearchData, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.study.data import Data

ROOMS = ("study", "storage", "models", "training", "machine", "search", "workers")
NEEDS_MORE = {"hpsearch.workers.ray"}  # Ray, which is not always there
opened: list[str] = []  # every file that this process opened since the hook was set


def modules() -> Iterator[ModuleType]:
    for room in ROOMS:
        package = importlib.import_module(f"hpsearch.{room}")
        for found in pkgutil.iter_modules(package.__path__, f"hpsearch.{room}."):
            if found.name not in NEEDS_MORE:
                yield importlib.import_module(found.name)


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every public function, class and classmethod that one of these rooms defines."""
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(value) or inspect.isclass(value):
                yield f"{module.__name__}.{name}", value


def hints(called: Callable[..., Any]) -> dict[str, Any]:
    target = called.__init__ if inspect.isclass(called) else called
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError, AttributeError):  # imported for type checkers alone
        return dict(getattr(target, "__annotations__", {}))


def takes_a_place(called: Callable[..., Any]) -> bool:
    """Whether something could be told where the sealed files lie: by a path, a name or bytes."""
    return any(
        name != "return" and any(word in str(hint) for word in ("Path", "str", "bytes"))
        for name, hint in hints(called).items()
    )


def test_no_public_function_takes_or_gives_sealed_data_by_its_types() -> None:
    """What they may be given of images is `SearchData`, whose fields are train and test."""
    names = {name for name, _ in public()}
    assert {"hpsearch.search.objective.Objective", "hpsearch.training.loop.train"} <= names
    assert len(names) > 150, "the walk must find them all"
    assert {f for f in SearchData.__dataclass_fields__ if "Labelled" in
            str(SearchData.__dataclass_fields__[f].type)} == {"train", "test"}  # fmt: skip
    for name, called in public():
        given = {str(hint) for key, hint in hints(called).items() if key == "return"}
        assert not any("Labelled" in g or "Sealed" in g for g in given), name
        taken = [str(hint) for key, hint in hints(called).items() if key != "return"]
        assert not any("Labelled" in hint or "Sealed" in hint for hint in taken), name


@pytest.fixture(scope="module")
def prepared() -> Path:
    return prepare(Data(source="digits")).folder


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Note every file that is opened, and work in a folder where anything may be written."""
    if not getattr(sys, "_hpsearch_watched", False):
        sys.addaudithook(
            lambda event, args: opened.append(str(args[0])) if event == "open" else None
        )
        sys._hpsearch_watched = True  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    opened.clear()
    yield
    opened.clear()


def values_for(hint: object, folder: Path, data: SearchData) -> list[Any]:
    """Return what to try for a parameter: where the sealed files lie, in every form."""
    sealed = folder / "validation"
    text = str(hint)
    if "Path" in text:
        return [folder, sealed, sealed / "images.npy"]
    if "bytes" in text:
        return [b"", (str(sealed / "images.npy")).encode()]
    if "str" in text and "Mapping" not in text and "dict" not in text:
        return [str(folder), str(sealed), str(sealed / "images.npy"), f"file://{sealed}"]
    if "SearchData" in text:
        return [data]
    if "TrialConfig" in text:
        return [config_with()]
    if "device" in text:
        return [torch.device("cpu")]
    if "int" in text or "float" in text:
        return [1]
    return [None]


def holds(found: object, images: np.ndarray[Any, Any], depth: int = 3) -> bool:
    """Whether something holds an image of these, raw: in an array, a tensor, bytes or a field."""
    if isinstance(found, torch.Tensor):
        found = found.detach().cpu().numpy()
    if isinstance(found, np.ndarray):
        flat = np.ascontiguousarray(found)
        return flat.dtype == np.uint8 and any(i.tobytes() in flat.tobytes() for i in images)
    if isinstance(found, bytes):
        return any(i.tobytes() in found for i in images)
    if depth == 0 or found is None:
        return False
    if isinstance(found, list | tuple):
        return any(holds(f, images, depth - 1) for f in found[:50])
    if isinstance(found, dict):
        return any(holds(f, images, depth - 1) for f in list(found.values())[:50])
    return any(holds(f, images, depth - 1) for f in getattr(found, "__dict__", {}).values())


def test_no_public_function_reads_the_sealed_files_wherever_it_is_pointed(
    prepared: Path, watched: None
) -> None:
    data = load_search_data(prepared)
    images = np.asarray(open_sealed(prepared).images[:3])
    assert any("validation" in name for name in opened), "the hook must see an opening"
    assert holds(open_sealed(prepared), images), "and the look must find an image"
    assert not holds(data, images)
    opened.clear()
    tried = 0
    for name, called in public():
        if name.startswith("hpsearch.study.") or not takes_a_place(called):
            continue  # a study file is whatever its user names
        wanted = {k: h for k, h in hints(called).items() if k != "return"}
        for turn in range(4):
            given = {}
            for parameter, hint in wanted.items():
                choices = values_for(hint, prepared, data)
                given[parameter] = choices[turn % len(choices)]
            tried += 1
            try:
                found = called(**given)
            except Exception:  # most of it is nonsense to them
                continue
            assert not holds(found, images), name
            if hasattr(found, "close"):
                with contextlib.suppress(Exception):  # made of nonsense, too
                    found.close()
    assert tried > 100, "the walk must find them all"
    assert not [name for name in opened if "validation" in name and name.endswith(".npy")]
