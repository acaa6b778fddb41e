"""Every command as its user types it: what it prints, where, and how it ends."""

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from made_commands import ended
from made_data import write_folder
from PIL import Image

ROOT = Path(__file__).parent.parent.parent

STUDY = """
name: tiny
data: {source: digits}
space: {filters: [8, 16], layers: 1, units1: 16, units2: 16}
search: {trials: 2, epochs: 2}
"""


@dataclass(frozen=True)
class Done:
    """A command line that has ended: what it printed."""

    stdout: str
    stderr: str


def checked(code: int, out: str, err: str, expected: int) -> Done:
    assert code == expected, out + err
    assert "Traceback" not in err + out, err
    return Done(out, err)


def hpsearch(folder: Path, *arguments: str, code: int = 0, **environment: str) -> Done:
    """Run a command line in this process, which has loaded what it needs; its children are real."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LOG", "DATA", "STORAGE"):  # commands set some for their children
            patch.setenv(f"HPSEARCH_{name}", "")
            patch.delenv(f"HPSEARCH_{name}")
        for name, value in environment.items():
            patch.setenv(name, value)
        return checked(*ended(folder, *arguments), code)


def program(folder: Path, *arguments: str, code: int = 0) -> Done:
    """Run a command line as its user does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "hpsearch", *arguments],
        cwd=folder,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return checked(done.returncode, done.stdout, done.stderr, code)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study `tiny` has been launched."""
    place = tmp_path_factory.mktemp("cli")
    (place / "tiny.yaml").write_text(STUDY)
    done = program(place, "launch", "tiny.yaml", "--workers", "1")
    assert "validation" in done.stdout and "Next:" in done.stderr
    assert "hpsearch train runs/tiny/best.yaml" in done.stderr
    return place


COMMANDS = (
    "launch", "status", "report", "audit", "export", "train", "dashboard", "check",
    "worker", "pause", "resume", "stop", "delete", "storage upgrade",
)  # fmt: skip


def test_check_warns_of_patience_that_can_never_act(tmp_path: Path) -> None:
    idle = STUDY.replace("layers: 1", "layers: 1, schedule: plateau, patience: 4")
    (tmp_path / "idle.yaml").write_text(idle)
    done = program(tmp_path, "check", "idle.yaml")
    assert "warning: space.patience: 4 can never act" in done.stderr
    assert "All is well" in done.stdout
    assert json.loads(hpsearch(tmp_path, "check", "idle.yaml", "--json").stdout)["warnings"]


def test_check_and_launch_say_once_which_axes_are_drawn_at_random(tmp_path: Path) -> None:
    families = STUDY.replace("layers: 1", "family: [alexnet, vgg], layers: 1, convolutions: [1, 2]")
    families = families.replace("trials: 2", "sampler: gp, trials: 2")
    (tmp_path / "families.yaml").write_text(families)
    for command in (("check",), ("launch", "--detach")):
        said = hpsearch(tmp_path, command[0], "families.yaml", *command[1:]).stderr
        assert said.count("draws convolutions at random to the end") == 1
        assert "optuna" not in said.lower()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, tmp_path: Path) -> None:
    assert f"Example: hpsearch {command}" in hpsearch(tmp_path, *command.split(), "--help").stdout


def test_help_names_every_command_and_version_is_a_number(tmp_path: Path) -> None:
    shown = program(tmp_path, "--help").stdout
    assert all(command.split()[0] in shown for command in COMMANDS)
    assert program(tmp_path, "--version").stdout.strip()[0].isdigit()


def test_launching_again_says_that_nothing_was_left_to_do(folder: Path) -> None:
    assert "nothing was trained or opened" in hpsearch(folder, "launch", "tiny.yaml").stderr


def test_launch_gives_json_to_scripts_on_stdout_alone(folder: Path) -> None:
    printed = json.loads(hpsearch(folder, "launch", "tiny.yaml", "--json").stdout)
    assert printed["trials"]["budget"] == 2 and printed["openings"] == 1


def test_status_shows_all_studies_or_one(folder: Path) -> None:
    assert "tiny" in hpsearch(folder, "status").stdout
    one = hpsearch(folder, "status", "tiny").stdout
    assert "2 of 2 trials ended" in one and "begins after 3 more" in one
    listed = json.loads(hpsearch(folder, "status", "--json").stdout)
    assert [s["study"] for s in listed["studies"]] == ["tiny"]
    assert listed["workers"] == []
    assert json.loads(hpsearch(folder, "status", "tiny.yaml", "--json").stdout)["openings"] == 1


def test_report_prints_the_same_again_and_fits_80_columns(folder: Path) -> None:
    shown = hpsearch(folder, "report", "tiny").stdout
    assert "identical to the search" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80
    final = json.loads(hpsearch(folder, "report", "tiny", "--json").stdout)["final"]
    assert f"{final['validation']['accuracy']:.4f}" in shown


def test_export_writes_a_file_that_train_repeats(folder: Path) -> None:
    hpsearch(folder, "export", "tiny", "--trial", "1", "-o", "one.yaml")
    done = program(folder, "train", "one.yaml", "-o", "one.safetensors")
    assert "identical to the recorded" in done.stdout
    assert (folder / "one.safetensors").stat().st_size > 1000
    assert hpsearch(folder, "export", "tiny").stdout.startswith("# Trial")
    exported = json.loads(hpsearch(folder, "export", "tiny", "--json").stdout)
    assert exported["config"]["family"] == "alexnet"


def test_a_check_ends_with_1_where_the_score_differs_beyond_noise(folder: Path) -> None:
    hpsearch(folder, "export", "tiny", "-o", "best.yaml")
    assert "identical" in hpsearch(folder, "train", "best.yaml", "--check").stdout
    written = (folder / "best.yaml").read_text()
    other = re.sub(r"dropout: .*", "dropout: 0.95", re.sub(r"torch: .*", "torch: 1.0.0", written))
    (folder / "other.yaml").write_text(re.sub(r"epochs: 2", "epochs: 1", other, count=1))
    done = hpsearch(folder, "train", "other.yaml", "--check", code=1)
    assert "differs, because versions (torch was 1.0.0, now " in flowing(done.stdout)
    told = json.loads(hpsearch(folder, "train", "other.yaml", "--check", "--json", code=1).stdout)
    assert told["verdict"] == "differs" and told["noise"] > 0
    moved = re.sub(r"(?m)^      seed: 0", "      seed: 1", written)  # of the split
    (folder / "moved.yaml").write_text(moved)
    done = hpsearch(folder, "train", "moved.yaml", "--check", code=1)
    assert "differs, because the data does" in done.stderr


def test_audit_shows_every_opening_with_its_trial_and_result(folder: Path) -> None:
    shown = flowing(hpsearch(folder, "audit", "tiny.yaml").stdout)
    assert "Validation was opened once." in shown and "final choice" in shown
    assert "alexnet, 1 x " in shown and "validation accuracy 0." in shown
    told = json.loads(hpsearch(folder, "audit", "tiny", "--json").stdout)
    (opening,) = told["openings"]
    assert opening["whose"] == "this study" and opening["config"]["epochs"] == 2


def test_a_missing_trial_or_study_names_what_there_is(folder: Path) -> None:
    assert "0 to 1" in hpsearch(folder, "export", "tiny", "--trial", "9", code=1).stderr
    assert "studies here: tiny" in hpsearch(folder, "report", "tyni", code=1).stderr


def test_commands_that_do_not_train_do_not_load_torch(folder: Path) -> None:
    (folder / "later.yaml").write_text(STUDY.replace("tiny", "later"))
    for arguments in (
        ["--help"], ["status"], ["report", "tiny"], ["export", "tiny"],
        ["audit", "tiny"], ["launch", "later.yaml", "--detach"], ["pause", "later"],
        ["resume", "later"], ["stop", "later"], ["launch", "tiny.yaml"],
        ["delete", "later", "--yes"], ["storage", "upgrade", "--dry-run"],
    ):  # fmt: skip
        script = (
            f"import sys; sys.argv = ['hpsearch', *{arguments!r}]\n"
            "from hpsearch.cli.main import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "assert 'torch' not in sys.modules, 'torch was loaded'"
        )
        run = [sys.executable, "-c", script]
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)


def test_a_study_is_queued_paused_resumed_finished_and_deleted(folder: Path) -> None:
    (folder / "queued.yaml").write_text(STUDY.replace("tiny", "queued"))
    done = hpsearch(folder, "launch", "queued.yaml", "--detach", "--priority", "3")
    assert "nothing runs yet" in done.stderr and "hpsearch worker" in done.stderr
    assert "no worker serves this storage" in flowing(hpsearch(folder, "status").stdout)
    hpsearch(folder, "pause", "queued")
    shown = flowing(hpsearch(folder, "status", "queued").stdout)
    assert "It waits: it is paused (by " in shown and "'hpsearch resume queued'" in shown
    hpsearch(folder, "resume", "queued.yaml")
    stand = json.loads(hpsearch(folder, "status", "queued", "--json").stdout)
    assert (stand["state"], stand["priority"]) == ("open", 3)
    hpsearch(folder, "stop", "queued")
    assert "is stopped" in flowing(hpsearch(folder, "status", "queued").stdout)
    hpsearch(folder, "stop", "queued", "--finish")
    stand = json.loads(hpsearch(folder, "status", "queued", "--json").stdout)
    assert (stand["state"], stand["trials"]["budget"]) == ("open", 0)
    assert "Aborted" in hpsearch(folder, "delete", "queued", code=1).stderr
    hpsearch(folder, "delete", "queued", "--yes")
    assert "studies here: tiny" in hpsearch(folder, "status", "queued", code=1).stderr
    assert "is done" in hpsearch(folder, "pause", "tiny", code=1).stderr


def test_a_study_of_a_newer_version_is_listed_audited_and_deleted(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "later.yaml").write_text(STUDY.replace("tiny", "later"))
    shutil.copytree(folder / "runs", tmp_path / "runs")
    hpsearch(tmp_path, "launch", "later.yaml", "--detach")
    with sqlite3.connect(tmp_path / "runs/hpsearch.db") as connection:
        connection.execute(
            "UPDATE hpsearch_studies SET spec = replace(spec, '\"search\":{', "
            "'\"search\":{\"tomorrow\":1,'), version = '99.1' WHERE name = 'tiny'"
        )
    connection.close()
    shown = hpsearch(tmp_path, "status").stdout
    assert "unreadable" in shown and "later" in shown and "open" in shown
    assert "unknown key 'tomorrow'" in flowing(shown) and "hpsearch 99.1" in flowing(shown)
    listed = json.loads(hpsearch(tmp_path, "status", "--json").stdout)
    assert [study["study"] for study in listed["studies"]] == ["later"]
    assert [study["name"] for study in listed["unreadable"]] == ["tiny"]
    for command in (["status", "tiny"], ["report", "tiny"], ["export", "tiny"]):
        assert "unknown key 'tomorrow'" in hpsearch(tmp_path, *command, code=1).stderr
    assert "validation accuracy" in hpsearch(tmp_path, "audit", "tiny").stdout
    hpsearch(tmp_path, "delete", "tiny", "--yes")
    assert "unreadable" not in hpsearch(tmp_path, "status").stdout


def test_deleting_a_stored_name_that_is_none_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs", tmp_path / "runs")
    with sqlite3.connect(tmp_path / "runs/hpsearch.db") as connection:
        for table, column in (("hpsearch_studies", "name"), ("studies", "study_name")):
            connection.execute(f"UPDATE {table} SET {column} = '../tiny'")
    connection.close()
    said = hpsearch(tmp_path, "delete", "../tiny", "--yes").stderr
    assert "study '../tiny' is deleted. No study may have that name" in said
    assert "the trial goes on" not in said and "runs/../tiny" not in said
    assert "../tiny" not in hpsearch(tmp_path, "status").stdout


def flowing(shown: str) -> str:
    """Return what was printed without the line breaks of a narrow terminal."""
    return " ".join(shown.split())


def test_check_shows_the_split_and_three_configurations(tmp_path: Path) -> None:
    shown = hpsearch(tmp_path, "check", str(ROOT / "studies" / "digits.yaml")).stdout
    assert "parameters" in shown and "1439" in shown and "sealed" in shown
    printed = hpsearch(tmp_path, "check", str(ROOT / "studies" / "digits.yaml"), "--json").stdout
    assert len(json.loads(printed)["samples"]) == 3
    assert not (tmp_path / "runs").exists(), "a check leaves nothing behind"


@pytest.mark.parametrize(
    "name", ["fashion-mnist.yaml", "filters-units.yaml", "flowers.yaml", "families.yaml"]
)
def test_every_study_that_is_shipped_passes_its_check(
    name: str, tmp_path: Path, shared_data: Path
) -> None:
    study = str(ROOT / "studies" / name)
    assert "All is well" in hpsearch(tmp_path, "check", study, "--data", str(shared_data)).stdout


def test_a_check_of_numbers_shows_how_they_spread_and_of_groups_how_many(tmp_path: Path) -> None:
    make = [sys.executable, str(ROOT / "studies" / "make_data.py"), str(tmp_path)]
    subprocess.run(make, check=True, capture_output=True)
    study = str(ROOT / "studies" / "turned-digits.yaml")
    shown = hpsearch(tmp_path, "check", study, "--data", str(tmp_path)).stdout
    assert "All is well" in shown
    assert re.search(r"number +mean in train +standard deviation", shown)
    assert re.search(r"degrees +-?0\.\d+ +2[56]\.\d+", shown)
    assert re.search(r"all +57\d\d +7\d\d +7\d\d", shown)
    assert re.search(r"Groups by digit in validation: 1\d\d\n", shown)


def test_spoken_digits_are_checked_with_the_speakers_that_are_held_out(
    tmp_path: Path, shared_data: Path
) -> None:
    study = str(ROOT / "studies" / "spoken-digits.yaml")
    shown = hpsearch(tmp_path, "check", study, "--data", str(shared_data / "fsdd")).stdout
    assert "images 48 x 64, 1 channel(s)" in shown
    held_out = [line for line in shown.splitlines() if line.startswith("Groups by speaker in ")]
    assert [line.split(": ")[1][0] for line in held_out] == ["4", "1", "1"]


def test_a_study_of_pretrained_networks_is_told_of_missing_weights_by_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    text = (ROOT / "studies" / "flowers-pretrained.yaml").read_text()
    assert "download: true" in text
    (tmp_path / "photos.yaml").write_text(text.replace("download: true", "download: false"))
    for number in range(60):
        path = tmp_path / "flowers" / ("daisy" if number % 2 else "roses") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 200, 100)).save(path)
    said = hpsearch(tmp_path, "check", "photos.yaml", code=1).stderr
    assert "the weights of resnet18 are not here" in said


def test_check_shows_what_is_odd_in_the_data_and_launch_says_so(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 16, 16, 3), np.uint8)
    pixels[7] = 90
    pixels[110:] = pixels[:10]
    for i, image in enumerate(pixels):
        place = tmp_path / "pets" / ("cat" if i < 117 and i % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:03}.png")
    study = STUDY.replace("source: digits", "source: folder, root: pets, image_size: 16")
    (tmp_path / "tiny.yaml").write_text(study)
    shown = hpsearch(tmp_path, "check", "tiny.yaml").stdout
    flowed = flowing(shown)
    assert "images had a copy elsewhere; they were moved into train" in flowed
    assert "(cat) = " in flowed and "images repeat another one of their split" in flowed
    assert "data.duplicates: refuse stops here instead" in flowed
    assert "2 pairs of copies have different targets" in flowed
    assert "2 images are blank" in flowed
    audit = json.loads(hpsearch(tmp_path, "check", "tiny.yaml", "--json").stdout)["audit"]
    assert audit["moved_from_test"] + audit["moved_from_validation"] > 0
    for finding in audit["findings"]:
        if finding["sheet"] is not None:
            assert (Path(audit["folder"]) / finding["sheet"]).exists()
            assert f"shown in {audit['folder']}/{finding['sheet']}" in shown
    said = hpsearch(tmp_path, "launch", "tiny.yaml", "--detach").stderr
    assert "data: 2 pairs of copies have different targets" in said
    assert "'hpsearch check' shows which" in said
    (tmp_path / "tiny.yaml").write_text(study.replace("root:", "duplicates: refuse, root:"))
    refused = hpsearch(tmp_path, "check", "tiny.yaml", code=1).stderr
    assert "have a copy in another split" in refused and "copies.png" in refused


BAD_FILES = {
    "an unknown key": (
        STUDY.replace("epochs", "epocs"),
        r"tiny.yaml:5: search: unknown key 'epocs'; did you mean 'epochs'?",
    ),
    "a reversed range": (
        STUDY.replace("[8, 16]", "{low: 16, high: 8}"),
        "tiny.yaml:4: space.filters: low 16 is above high 8; swap them",
    ),
    "a wrong type": (STUDY.replace("trials: 2", "trials: many"), "search.trials: 'many'"),
    "broken YAML": (STUDY + "  oops: [", "not valid YAML"),
    "a missing root": (
        STUDY.replace("source: digits", "source: folder, root: nowhere, image_size: 32"),
        "data.root: nowhere does not exist",
    ),
    "an absent data set": (STUDY.replace("digits", "cifar10"), "cifar-10-batches-py"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_study_file_says_where_what_and_what_instead(case: str, tmp_path: Path) -> None:
    text, expected = BAD_FILES[case]
    (tmp_path / "tiny.yaml").write_text(text)
    for command in ("check", "launch"):
        assert expected in hpsearch(tmp_path, command, "tiny.yaml", code=1).stderr
    assert not (tmp_path / "runs" / "hpsearch.db").exists()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_storage_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    url = f"postgresql://ann:s3cr3t@127.0.0.1:{closed_port()}/db"
    for arguments in (["launch", "tiny.yaml"], ["status"]):
        done = hpsearch(tmp_path, *arguments, code=1, HPSEARCH_STORAGE=url)
        assert "does not answer" in done.stderr and "ann:***@" in done.stderr
        assert "s3cr3t" not in done.stderr + done.stdout


def test_commands_without_a_storage_say_how_to_get_one(tmp_path: Path) -> None:
    for command in (["status"], ["report", "x"], ["export", "x"], ["dashboard"]):
        assert "hpsearch launch" in hpsearch(tmp_path, *command, code=1).stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--workers", "many"], "neither auto nor a number"),
        (["--timeout", "soon"], "not a duration"),
        (["--device", "gpu7"], "gpu7"),
    ],
)
def test_a_bad_flag_is_an_error_before_anything_starts(
    flags: list[str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    assert expected in hpsearch(tmp_path, "launch", "tiny.yaml", *flags, code=1).stderr


def test_the_dashboard_shows_the_study_and_takes_no_orders(folder: Path) -> None:
    port = closed_port()
    served = subprocess.Popen(
        [sys.executable, "-m", "hpsearch", "dashboard", "--port", str(port)],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        listing = None
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{address}/api/studies", timeout=10) as answer:
                    listing = json.load(answer)
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        assert listing is not None
        assert [s["study_name"] for s in listing["study_summaries"]] == ["tiny"]
        for request in (
            urllib.request.Request(f"{address}/api/studies/1", method="DELETE"),
            urllib.request.Request(f"{address}/api/trials/1/tell", b"{}", method="POST"),
            urllib.request.Request(f"{address}/api/studies", headers={"Host": "evil.example"}),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=10)
            assert refused.value.code == 403
            refused.value.close()
        taken = program(folder, "dashboard", "--port", str(port), code=1)
        assert "choose another with --port" in taken.stderr
    finally:
        served.terminate()
        served.communicate(timeout=30)
    assert served.returncode == 0, "SIGTERM ends it cleanly"


def test_what_is_left_out_is_told_by_check_launch_and_report(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", {"cat": 12, "dog": 12})
    for number in range(4):
        (tmp_path / "pets" / "cat" / f"00{number}.png").write_bytes(b"no picture")
    (tmp_path / "pets.yaml").write_text(
        STUDY.replace("tiny", "pets").replace(
            "{source: digits}", "{source: folder, root: pets, image_size: 8, on_broken: skip}"
        )
    )
    said = hpsearch(tmp_path, "check", "pets.yaml").stderr
    assert "Read: 20 of 24 files; 4 left out:" in said
    assert "4 cannot be decoded: " in said and "and 1 more" in said
    assert (named := re.search(r"all names: (.*left-out\.txt)", said))
    assert Path(named[1]).read_text().startswith("4 cannot be decoded:")
    assert "Read: 20 of 24 files" in hpsearch(tmp_path, "launch", "pets.yaml", "--detach").stderr
    shutil.rmtree(tmp_path / "pets")  # and on a machine without the data
    assert "Read: 20 of 24 files; 4 left out:" in hpsearch(tmp_path, "report", "pets").stdout
