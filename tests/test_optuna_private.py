"""What is private of Optuna's stands in one module, for any of its releases may change it.

A sampler of ours that overrides one of Optuna's stands in another, and says what it overrides.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from packaging.requirements import Requirement

from hpsearch.storage.optuna_private import HEAD_VERSION
from hpsearch.storage.storage import open_storage

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text()
    for path in (ROOT / "hpsearch").rglob("*.py")
}
ONE = "hpsearch.storage.optuna_private"
USED = {  # by that one; what is added here has to be tried with each minor release
    "optuna.storages._rdb",  # the tables, and what looks at their version
    "_trial_id",
    "_study_id",
    "_storage",
    "_cached_frozen_trial",
    "_get_trials",  # which trials a sampler sees
    "_init_alembic",
}
SAMPLER = "hpsearch.search.tpe"  # held to Optuna's own proposals by its tests
OVERRIDDEN = {  # by that one
    "_sample",
    "_constant_liar",
    "_get_params",
    "_parzen_estimator_cls",
    "_parzen_estimator_parameters",
    "_rng",
    "_n_ei_candidates",
    "_compare",
    "_compute_acquisition_func",
}
NAMESAKES = {
    ("hpsearch.storage.openings", "_asdict"),  # of a row of SQLAlchemy's
}
OPTUNA = Path(inspect.getfile(optuna)).parent
NAMED = re.compile(r"def (\w+)\(|self\.(\w+)(?:: [^=\n]+)? = ")
INHERITING = re.compile(r"class \w+\(\w*(Storage|Sampler)\)")
TABLES = re.compile(
    r"\b(from|into|join|table|update)\s+"
    r"(studies|trials|(study|trial)_[a-z_]+|version_info|alembic_version)\b",
    re.IGNORECASE,
)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names() -> set[str]:
    """Return the names that Optuna's sources give to attributes and methods of their own."""
    sources = (p.read_text(encoding="utf-8") for p in OPTUNA.rglob("*.py"))
    named = (NAMED.findall(source) for source in sources)
    return {name for names in named for pair in names for name in pair if is_private(name)}


PRIVATE = private_names()


def inherited(module: str) -> set[str]:
    """Return the private names that a module's classes have from Optuna's."""
    found: set[str] = set()
    for _, class_ in inspect.getmembers(importlib.import_module(module), inspect.isclass):
        if class_.__module__ == module and issubclass(class_, BaseStorage | BaseSampler):
            theirs = [c for c in class_.__mro__ if c.__module__.startswith("optuna")]
            found |= {name for c in theirs for name in vars(c) if is_private(name)}
    return found


def private_uses(source: str, inherits: Collection[str] = ()) -> Iterator[str]:
    """Yield what is private of Optuna's in a piece of code: modules, names, tables."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield from _of_import(node.module or "", [a.name for a in node.names])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _of_import(alias.name, [])
        elif isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if node.attr in (inherits if own else PRIVATE) or _is_optunas(node):
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in PRIVATE:  # for getattr
                yield node.value
            if TABLES.search(node.value):
                yield node.value


def _of_import(module: str, names: list[str]) -> Iterator[str]:
    if module.split(".", 1)[0] not in ("optuna", "optuna_dashboard"):
        return
    if any(is_private(part) for part in module.split(".")):
        yield module
    yield from (f"{module}.{name}" for name in names if is_private(name))


def _is_optunas(node: ast.Attribute) -> bool:
    """Whether it is a private attribute of one of Optuna's modules, `optuna.storages._rdb`."""
    return is_private(node.attr) and ast.unparse(node.value).startswith("optuna")


def test_only_one_module_uses_what_is_private_of_optunas() -> None:
    for module, source in MODULES.items():
        if module in (ONE, SAMPLER):
            continue
        inherits = inherited(module) if INHERITING.search(source) else set()
        uses = {u for u in private_uses(source, inherits) if (module, u) not in NAMESAKES}
        assert not uses, f"{module} uses {uses}; give it a public name in {ONE}"


def test_what_it_uses_is_listed() -> None:
    assert set(private_uses(MODULES[ONE])) == USED
    assert set(private_uses(MODULES[SAMPLER], PRIVATE)) == OVERRIDDEN


@pytest.mark.parametrize(
    "source",
    [
        "from optuna.storages import _CachedStorage",
        "from optuna.storages._rdb import models",
        "import optuna.study._frozen",
        "trial._trial_id",
        "study._storage.get_all_trials(0)",
        "optuna.storages._CachedStorage(backend)",
        "getattr(trial, '_cached_frozen_trial')",
        "connection.execute(text('DELETE FROM trial_user_attributes'))",
        "'select max(number) from trials'",
    ],
)
def test_the_walk_finds_what_is_private(source: str) -> None:
    assert list(private_uses(source))


def test_the_walk_finds_what_a_storage_of_ours_has_from_optunas() -> None:
    names = inherited("hpsearch.storage.retry")
    assert "_get_trials" in names & PRIVATE
    assert list(private_uses("self._get_trials(1)", names))
    assert not list(private_uses("self._get_trials(1)")), "a namesake in a class of our own"


def test_the_version_of_optunas_tables_is_that_of_its_last_migration(tmp_path: Path) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/optuna.db")
    try:
        assert storage.get_all_versions()[0] == HEAD_VERSION == storage.get_current_version()
    finally:
        storage.engine.dispose()


def test_an_open_storage_has_not_loaded_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpsearch.db"
    open_storage(url).close()
    code = (
        "import sys; from hpsearch.storage.storage import open_storage; "
        f"open_storage({url!r}, create=False).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"


def test_the_requirement_ends_at_the_minor_release_that_was_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = [r for r in map(Requirement, project["dependencies"]) if r.name == "optuna"]
    major, minor, *_ = map(int, version("optuna").split(".")[:2])
    assert wanted.specifier.contains(f"{major}.{minor}.99")
    assert not wanted.specifier.contains(f"{major}.{minor + 1}.0")
