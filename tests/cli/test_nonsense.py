"""Every command given nonsense: one line of ours and exit code 1 or 2, and never a traceback."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import click
import pytest
import typer.main
from made_commands import ended

from hpsearch.cli.main import app
from hpsearch.storage.storage import open_storage

COMMANDS: dict[str, click.Command] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
COMMANDS = {name: c for name, c in COMMANDS.items() if not hasattr(c, "commands")}  # no groups
STUDY = "name: made\ndata: {source: digits}\nsearch: {trials: 1, epochs: 1}\n"
LONGEST = 4000  # characters that are said
SLOWEST_S = 60.0  # on a busy machine; `check` times some trainings

NONSENSE = (
    "", " ", "-", "--", "0", "-1", "1.5", "1e400", "nan", "inf", "9" * 30, "9" * 5000, "²",
    "None", "a\0b", "\x1b[2J\n", "\udcff", "a" * 300, "a/" * 3000, "x" * 100_000, "../../..", "~",
    "~nobody", "/", "/dev/null", "/dev/zero", "/proc/self/mem", "/etc/passwd/x", "folder",
    "folder/", "empty.yaml", "binary.yaml", "missing.yaml", "made.yaml", "made", "pipe.yaml", "*",
    "$(id)", "'", "[red]", "{}", "sqlite:///", "sqlite://", "sqlite:////", "sqlite:///folder",
    "sqlite:////dev/null", "sqlite:////proc/x.db", "sqlite:///binary.yaml", "sqlite:///a\0b",
    "sqlite:///" + "a" * 5000, "sqlite:///x.db?mode=nonsense", "sqlite:///:memory:",
    "sqlite+nonsense:///x.db", "sqlite:///missing/x.db", "mysql://a@b/c", "postgresql://",
    "postgresql://a@127.0.0.1:1/b", "postgresql://a@127.0.0.1:99999/b",
    "postgresql://a@127.0.0.1:x/b", "postgresql:///x?host=/nowhere",
    "postgresql://a\0@127.0.0.1:1/b", "postgresql://a@127.0.0.1:1/b?nonsense=1",
    "postgresql://a@127.0.0.1:1/b?connect_timeout=x", "http://127.0.0.1:1/x", "s3://", "s3://b",
    "file:///", "nonsense://x", "memory://x", "cuda", "cuda:-1", "cuda:99999999999999999999",
    "cpu:x", "meta", "0s", "-5m", "1e9d", "5x",
)  # fmt: skip
# Commands that would serve for ever if a word made sense, and what keeps them from it.
SAFE = {
    "launch": ("--detach",),
    "worker": ("--until-idle", "--search-only"),
    "dashboard": ("--host", "192.0.2.1"),
    "delete": ("--yes",),
    "check": (),
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process its environment back: commands set it, such as --log for its children."""
    for name in ("HPSEARCH_LOG", "HPSEARCH_DATA", "HPSEARCH_STORAGE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nonsense")
    (folder / "folder").mkdir()
    (folder / "empty.yaml").write_text("")
    (folder / "binary.yaml").write_bytes(bytes(range(256)) * 20)
    (folder / "made.yaml").write_text(STUDY)
    (folder / "runs").mkdir()
    open_storage(f"sqlite:///{folder}/runs/hpsearch.db").close()
    return folder


def words_of(name: str, rng: Random) -> list[str]:
    """Return a command line: sensible arguments, but for one to three that are nonsense."""
    command = COMMANDS[name]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.is_flag]  # type: ignore[attr-defined]
    words = [name, *SAFE.get(name, ())]
    wrong = rng.sample([*arguments, *options], min(len(arguments + options), rng.randint(1, 3)))
    for option in options:
        if option in wrong and "--host" not in option.opts:
            words += [option.opts[0], rng.choice(NONSENSE)]
    for argument in arguments:
        if argument in wrong or rng.random() < 0.3:
            words.append(rng.choice(NONSENSE))
        else:
            words.append("made.yaml" if "yaml" in (argument.metavar or "") else "made")
    return words


@pytest.mark.parametrize("name", COMMANDS)
def test_nonsense_is_refused_in_words(
    name: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_nonsense(place, name, 2 if name == "check" else 15, seed=0)
    assert "Traceback" not in "".join(capfd.readouterr()), "nor of a child"


def check_nonsense(place: Path, name: str, count: int, seed: int) -> None:
    rng = Random(f"{name} {seed}")
    for _ in range(count):
        words = words_of(name, rng)
        began = time.monotonic()
        try:
            code, out, err = ended(place, *words)
        except Exception as error:
            raise AssertionError(f"{[w[:200] for w in words]}: {error!r}"[:2000]) from error
        said = f"{[w[:200] for w in words]}: {code}: {err[:2000]}"
        assert code in (0, 1, 2), said
        assert "Traceback" not in out + err, said
        assert time.monotonic() - began < SLOWEST_S, said
        if code:
            assert err.strip() and len(err) < LONGEST, said
            assert not {"\x1b", "\0"} & set(err), said
        if code == 1:
            assert err.splitlines()[-1].startswith("hpsearch: ") or "hpsearch: " in err, said


@pytest.mark.chaos
@pytest.mark.parametrize("name", COMMANDS)
def test_much_nonsense_is_refused_in_words(
    name: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_nonsense(place, name, 40 if name == "check" else 400, seed=1)
    assert "Traceback" not in "".join(capfd.readouterr()), "nor of a child"


@pytest.mark.parametrize("host", ["a\0b", "x" * 100_000, "\udcff", "a..b", "256.1.1.1", "folder/"])
def test_an_address_that_is_none_is_refused_in_words(host: str, place: Path) -> None:
    code, _, err = ended(place, "dashboard", "--port", "8081", "--host", host)
    assert code == 1 and err.startswith("hpsearch: ") and len(err) < LONGEST
