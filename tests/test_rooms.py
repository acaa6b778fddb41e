"""The walls: imports point one way, and the sealed split is out of the search's reach."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "hpsearch"
# A module may use rooms of floors below its own, and of its own floor its own room alone.
FLOORS = (
    ("errors", "writing"), ("study",), ("data", "storage"), ("models",), ("training",),
    ("machine",), ("search",), ("workers", "evaluation"), ("reports", "preflight"), ("service",),
    ("cli",),
)  # fmt: skip
CHILDREN = ("hpsearch.machine.children", "hpsearch.workers.local")
SEALED_OFF = ("study", "storage", "models", "training", "machine", "search", "workers")
SEALED = "hpsearch.data.sealed"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield the modules of ours that a piece of code imports, wherever in it the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("hpsearch"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            if module.startswith("hpsearch"):
                yield module
                yield from (f"{module}.{a.name}" for a in node.names)


MODULES = {module_name(p): ast.parse(p.read_text()) for p in PACKAGE.rglob("*.py")}


def room(module: str) -> str:
    return module.split(".")[1]


def floor(module: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room(module) in rooms)


def test_imports_point_one_way() -> None:
    for module, tree in MODULES.items():
        if module in ("hpsearch.__init__", "hpsearch.__main__"):
            continue
        for imported in imports_of(tree):
            if imported.count(".") >= 1:
                below = floor(imported) < floor(module) or room(imported) == room(module)
                assert below, f"{module} imports {imported}"


def test_no_module_of_ours_is_in_an_import_cycle() -> None:
    graph = {m: {i for i in imports_of(t) if i in MODULES} - {m} for m, t in MODULES.items()}
    while free := [m for m, needs in graph.items() if not needs & graph.keys()]:
        for module in free:
            del graph[module]
    assert not graph, f"these import each other: {sorted(graph)}"


def test_package_files_are_empty_so_that_a_name_has_one_home() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:  # the front door, which looks names up where they live
            assert path.read_text() == "", path


def test_only_the_command_line_and_child_processes_import_our_modules_late() -> None:
    for module, tree in MODULES.items():
        if (
            module.startswith("hpsearch.cli.")
            or module in CHILDREN
            or module == "hpsearch.__init__"
        ):
            continue
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                assert not list(imports_of(function)), f"{module}.{function.name} imports late"


def reachable(module: str) -> set[str]:
    found: set[str] = set()
    ahead = [module]
    while ahead:
        here = ahead.pop()
        if here in MODULES and here not in found:
            found.add(here)
            ahead += imports_of(MODULES[here])
    return found


def test_no_module_of_the_search_can_reach_validation_data() -> None:
    judges = [m for m in MODULES if SEALED in reachable(m)]
    assert "hpsearch.evaluation.final" in judges, "the walk must find the one that may"
    for module in judges:
        assert module.split(".")[1] not in SEALED_OFF, module


def test_the_name_of_the_validation_files_stands_in_no_module_of_the_search() -> None:
    for module, tree in MODULES.items():
        if module.split(".")[1] in SEALED_OFF:
            strings = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
            assert "validation" not in strings, f"{module} could open the folder by its name"
