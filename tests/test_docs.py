"""README and docs say what is true: links lead somewhere, keys, options and names are complete."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from io import StringIO
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer.main
from made_configs import config_with
from pages import PAGES, ROOT, Block, anchors, blocks, code_in, links, prose, rows, section
from ruamel.yaml import YAML
from typer.testing import CliRunner

import hpsearch
from hpsearch.cli.main import app
from hpsearch.data import prepare as preparing
from hpsearch.models.cost import cost
from hpsearch.models.families import FAMILIES, build_model
from hpsearch.models.layers import ImageShape
from hpsearch.search.decisions import Begin, Budget, Curve, Resume, Standing, Wait
from hpsearch.study.config import Pretrained
from hpsearch.study.data import Arrays, Data, Pictures, Sound, Text
from hpsearch.study.file import validated
from hpsearch.study.pruner import Pruner
from hpsearch.study.searching import Search
from hpsearch.study.space import Space
from hpsearch.study.spec import Confirm, Final, StudySpec
from hpsearch.study.splits import Split

DOCS = ROOT / "docs"
LANGUAGES = {"bash", "python", "yaml", "text", "ini"}
BLOCKS = [block for page in PAGES for block in blocks(page)]
BASE = {"name": "base", "data": {"source": "digits"}}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


# Form


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}: no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert set(PAGES) - {ROOT / "README.md"} <= linked


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_has_a_language_and_a_reason_not_to_be_run(block: Block) -> None:
    assert block.language in LANGUAGES
    if block.why_not_run is not None:
        assert len(block.why_not_run.split()) >= 3, "why?"
    else:
        assert block.language != "ini", "nothing here can run it: say so"


def test_the_picture_is_whole_and_fetches_nothing() -> None:
    text = (DOCS / "flow.svg").read_text(encoding="utf-8")
    xml.etree.ElementTree.fromstring(text)
    fetched = re.findall(r"(?:href|src|url)\s*[=(]\s*['\"]?(?!#)(\S+)", text)
    assert not fetched


def test_the_readme_is_a_page_and_keeps_its_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    commands = [b.text.strip() for b in blocks(ROOT / "README.md") if b.language == "bash"]
    assert commands[:2] == [
        "python3 -m venv .venv && .venv/bin/pip install -e . && "
        ".venv/bin/hpsearch launch studies/digits.yaml",
        ".venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
    ]


def test_only_extending_shows_what_is_below_the_front_door() -> None:
    for block in BLOCKS:
        deep = re.search(r"(?:from|import) hpsearch\.", block.text)
        assert not deep or block.page.name == "extending.md", block


# The study file


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=str)
def test_every_study_that_is_shown_is_read(block: Block) -> None:
    written = YAML(typ="rt").load(StringIO(block.text))
    assert isinstance(written, dict)
    if block.why_not_run is not None:
        assert not written.keys() & StudySpec.model_fields.keys() - {"name"}, (
            "it is a study: read it"
        )
        return
    merged = BASE | written
    if block.mark.startswith("not valid"):
        with pytest.raises(hpsearch.HpsearchError):
            validated(StudySpec, merged, str(block))
    else:
        validated(StudySpec, merged, str(block))


SECTIONS: tuple[tuple[str, str, type[Any], set[str]], ...] = (
    ("study-file.md", "search", Search, {"startup_trials"}),
    ("study-file.md", "confirm", Confirm, set()),
    ("study-file.md", "final", Final, set()),
    ("study-file.md", "pretrained", Pretrained, set()),
    ("data.md", "Keys", Data, set()),
    ("data.md", "Pictures", Pictures, set()),
    ("data.md", "Arrays", Arrays, set()),
    ("data.md", "Sound", Sound, set()),
    ("data.md", "Text", Text, set()),
    ("data.md", "Split", Split, set()),
)


@pytest.mark.parametrize(("page", "heading", "model", "others"), SECTIONS)
def test_every_key_of_a_section_is_in_its_table(
    page: str, heading: str, model: type[Any], others: set[str]
) -> None:
    known = set(model.model_fields) | others
    if model is Search:
        known |= Pruner.model_fields.keys() - {"name"}
    shown = [row for row in rows(section(DOCS / page, heading)) if code_in(row[0])]
    assert {key for row in shown for key in code_in(row[0])} == known
    for row in shown:
        default = getattr(model.model_fields.get(code_in(row[0])[0]), "default", None)
        if type(default) in (int, float, bool):
            words = row[1].replace("10m", "600")
            assert words.startswith(f"{default:g}" if default is not True else "true") or (
                default is False and words.startswith("false")
            ), row


def test_every_axis_is_in_its_table_with_its_default() -> None:
    shown = {code_in(row[0])[0]: row[1] for row in rows(section(DOCS / "families.md", "Axes"))}
    fields = Space.model_fields
    assert shown == {
        name: str(default).lower() if isinstance(default, bool | str) else f"{default:g}"
        for name, field in fields.items()
        for default in [field.default.value]
    }
    families = {code_in(row[0])[0] for row in rows(section(DOCS / "families.md", "Families"))}
    assert families == set(FAMILIES)


def test_every_shipped_study_is_listed() -> None:
    listed = {
        code_in(row[0])[0] for row in rows(section(DOCS / "study-file.md", "Shipped studies"))
    }
    assert listed == {path.name for path in (ROOT / "studies").glob("*.yaml")}


# Commands


def commands_of(group: Any, above: str = "") -> dict[str, click.Command]:
    """Return every command by its words, those of groups as `GROUP COMMAND`."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found |= commands_of(command, f"{name} ") if inner else {above + name: command}
    return found


COMMANDS = commands_of(typer.main.get_command(app))
COMMANDS_PAGE = DOCS / "commands.md"


def options_of(command: click.Command) -> dict[str, Any]:
    """Return every spelling of a command's options."""
    return {
        spelling: option
        for option in command.params
        if option.param_type_name == "option"
        for spelling in (*option.opts, *option.secondary_opts)
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_table_has_the_options_of_the_program(name: str) -> None:
    shown = {
        option: row
        for row in rows(section(COMMANDS_PAGE, f"hpsearch {name}"))
        for option in code_in(row[0])
        if option.startswith("-")
    }
    options = options_of(COMMANDS[name])
    assert shown.keys() == options.keys() - {"--help", "-h"}
    wide = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}
    printed = CliRunner().invoke(app, [*name.split(), "--help"], env=wide).output
    for spelling in options:
        assert spelling in printed
    for spelling, row in shown.items():
        default = options[spelling].default
        default = getattr(options[spelling], "show_default", None) or default
        if not callable(default) and type(default) in (str, int, float) and default != "":
            assert row[1].strip("`") == f"{default}".removesuffix(".0"), row


def test_every_command_is_in_the_first_table() -> None:
    listed = " ".join(row[0] for row in rows(COMMANDS_PAGE.read_text().partition("## Storage")[0]))
    assert {name for name in COMMANDS if re.search(rf"`(hpsearch )?{name}`", listed)} == set(
        COMMANDS
    )


def test_every_environment_variable_is_listed() -> None:
    known = {
        name
        for path in (ROOT / "hpsearch").rglob("*.py")
        for name in re.findall(r"HPSEARCH_[A-Z_]+", path.read_text(encoding="utf-8"))
    }
    listed = rows(section(COMMANDS_PAGE, "Environment variables"))
    assert {code_in(row[0])[0] for row in listed} == known - {"HPSEARCH_PARENT"}  # among ourselves


def commands_in(text: str) -> list[list[str]]:
    """Return the words of every command `hpsearch ...` in a text."""
    found = re.findall(r"(?<![\w/.-])(?:\.venv/bin/|/\S*/bin/)?hpsearch ((?:[\w.$/:-]+ ?)+)", text)
    return [line.split() for line in found]


@each_page
def test_every_command_that_is_named_is_one_of_the_program(page: Path) -> None:
    named = [line for block in blocks(page) for line in commands_in(block.text)]
    named += [line for code in code_in(prose(page)) for line in commands_in(code)]
    named += [
        [word.strip(' "') for word in line.split(",")]  # of a container
        for block in blocks(page)
        for line in re.findall(r"(?:args|command): \[([^\]]+)\]", block.text)
    ]
    named += [
        line.split()
        for block in blocks(page)
        for line in re.findall(r"docker compose run --rm worker (.+)", block.text)
    ]
    for command, *words in named:
        if command.startswith("--"):
            assert command in ("--help", "--version")
            continue
        if command not in COMMANDS and words:
            command, *words = (f"{command} {words[0]}", *words[1:])  # noqa: PLW2901
        assert command in COMMANDS, f"hpsearch {command}"
        for word in words:
            if word.startswith("-") and word != "--help":
                assert word in options_of(COMMANDS[command]), f"hpsearch {command} {word}"


# Python


def test_the_page_lists_what_is_public() -> None:
    listed = rows(section(DOCS / "python.md", "What is public"))
    names = {name.partition("(")[0] for row in listed for name in code_in(row[0])}
    assert names == set(hpsearch.__all__)


def example(page: str, name: str) -> dict[str, Any]:
    """Return what the Python block of a page defines that defines a name."""
    (block,) = (b for b in blocks(DOCS / page) if b.language == "python" and name in b.text)
    defined: dict[str, Any] = {"__name__": "example"}
    exec(compile(block.text, str(block), "exec"), defined)
    return defined


def test_the_example_of_a_family_is_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    build = example("extending.md", "def build(")["build"]
    monkeypatch.setitem(FAMILIES, "alexnet", build)
    model = build_model(config_with(filters=6), ImageShape(3, 16, 16), 4)
    assert (
        sum(p.numel() for p in model.parameters())
        == cost(config_with(filters=6), ImageShape(3, 16, 16), 4).parameters
    )


def test_the_example_of_a_source_is_prepared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(preparing.SOURCES, "digits", example("extending.md", "SOURCE =")["SOURCE"])
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path))
    prepared = preparing.prepare(Data(source="digits"))
    assert prepared.outputs == ("plain", "checkered")
    assert np.sum(prepared.totals) == 400


def test_the_example_of_a_scheduler_resumes_the_best_trial_alone() -> None:
    policy = example("extending.md", "class BestOfAll")["BestOfAll"]()
    paused = tuple(Curve(n, "paused", (0.0, score)) for n, score in enumerate((0.3, 0.9)))
    begun = Standing(paused, Budget(trials=3, unclaimed=1, epochs=5))
    assert (policy.pauses, policy.next(begun)) == (True, Begin())
    all_there = (*paused, Curve(2, "paused", (0.0, 0.5)))
    assert policy.next(Standing(all_there, Budget(3, 0, 5))) == Resume(1)
    ended = (paused[0], Curve(1, "complete", (0.0, 0.9, 0.8)), all_there[2])
    assert policy.next(Standing(ended, Budget(3, 0, 5))) == Wait()


@pytest.mark.parametrize("name", ["architecture.md", "extending.md", "../CONTRIBUTING.md"])
def test_what_a_page_for_developers_names_is_there(name: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    modules = sorted((ROOT / "hpsearch").rglob("*.py"))
    ours = set(re.findall(r"\w+", " ".join(m.read_text(encoding="utf-8") for m in modules)))
    tables = re.findall(r"`([A-Z][A-Z_]+)`", page)
    assert [t for t in tables if t not in ours | {"HPSEARCH_TEST_DATA"}] == []
    paths = re.findall(r"`([a-z_./]+\.py|(?:hpsearch|tests)/[a-z_/]+)`", page)
    assert paths
    roots = (ROOT, ROOT / "hpsearch", ROOT / "tests")
    assert [p for p in paths if not any((root / p).exists() for root in roots)] == []
