"""docker-compose.yml without Docker: its form, what it exposes, and its services as processes.

No engine runs here, so a container is played by a process. What the process is told comes from the
file alone: the image's entrypoint and the service's command, working folder and environment.
Replaced is only what an engine would provide:

- the folders of the container (volumes, secrets, the working folder) are folders of the test;
- the host `postgres` and its role are a real server of the test and a role that needs a password;
- the port of the dashboard is one that is free.

What is not shown: that the image builds, and that an engine gives the containers these rights.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fixtures_storage import GUARDED_PASSWORD, GUARDED_ROLE, PostgresServer
from ruamel.yaml import YAML
from sqlalchemy import make_url

from hpsearch.machine.children import STOP_GRACE_S

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docker-compose.yml"
TEXT = FILE.read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = YAML(typ="safe").load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("worker", "dashboard")

STUDY = """
name: {name}
data: {{source: digits}}
space: {{filters: 8, layers: 1, units1: 16, units2: 16}}
search: {{trials: 2, epochs: {epochs}, precision: fp32}}
"""
DOCKER_KILLS_AFTER_S = 10.0
LONGEST_S = 120.0  # for any one step, on a machine with much else to do


def dockerfile(instruction: str) -> str:
    """Return what the image's last instruction of a name says."""
    text = SERVICES["worker"]["build"]["dockerfile_inline"]
    found = re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)
    assert found, f"the image has no {instruction}"
    return str(found[-1])


def interpolated(text: str) -> str:
    """Return text with `${NAME:-default}` as it is where nobody has set NAME."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


# Form


def validated(path: Path) -> subprocess.CompletedProcess[str]:
    """Check a file against the compose specification's schema, which the package holds."""
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_file_is_what_the_compose_specification_asks_for(tmp_path: Path) -> None:
    done = validated(FILE)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(TEXT.replace("depends_on:", "depend_on:"))
    assert "depend_on" in validated(wrong).stdout, "the schema finds a misspelt key"


def test_all_that_is_named_is_defined() -> None:
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        assert set(service.get("depends_on", [])) <= set(SERVICES)
        for volume in service.get("volumes", []):
            if isinstance(volume, str) and not volume.startswith("."):
                assert volume.split(":")[0] in COMPOSE["volumes"]


def test_workers_wait_for_a_database_that_answers_over_the_network() -> None:
    for name in OURS:
        assert SERVICES[name]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    probe = SERVICES["postgres"]["healthcheck"]["test"]
    assert probe[:2] == ["CMD", "pg_isready"] and "--host=127.0.0.1" in probe


def test_the_database_is_one_major_version_in_a_volume_of_its_own() -> None:
    assert re.fullmatch(r"postgres:\d+(-\w+)?", SERVICES["postgres"]["image"])
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]


def test_workers_can_be_many_and_have_time_to_give_their_trials_back() -> None:
    worker = SERVICES["worker"]
    assert "container_name" not in worker and "ports" not in worker, "both would allow one alone"
    grace_s = float(worker["stop_grace_period"].removesuffix("s"))
    assert grace_s > STOP_GRACE_S + 2
    assert worker["restart"] == "unless-stopped" and worker["init"] is True


def test_both_services_of_ours_are_one_image_made_of_the_package_alone() -> None:
    assert SERVICES["worker"]["build"] == SERVICES["dashboard"]["build"]
    assert SERVICES["worker"]["image"] == SERVICES["dashboard"]["image"]
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert kept[0] == "*", "what is not named stays out of the image"
    for line in re.findall(r"^COPY (.*)$", SERVICES["worker"]["build"]["dockerfile_inline"], re.M):
        for source in shlex.split(line)[:-1]:
            assert f"!{source}" in kept and (ROOT / source).exists()


# What is exposed


def test_the_database_is_not_published_and_the_dashboard_on_this_machine_alone() -> None:
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    assert published == {"dashboard": ["127.0.0.1:8080:8080"]}
    assert not any("network_mode" in service for service in SERVICES.values())


def test_nothing_runs_as_root_or_can_become_it() -> None:
    assert dockerfile("USER") not in ("root", "0")
    assert SERVICES["postgres"]["user"] == "postgres"
    for service in SERVICES.values():
        assert service.get("user") not in ("root", "0", 0)
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
    assert "docker.sock" not in TEXT


def test_the_password_is_in_a_file_that_neither_git_nor_the_image_takes() -> None:
    (secret,) = COMPOSE["secrets"].values()
    assert secret == {"file": "./secrets/postgres-password"}
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "!secrets" not in (ROOT / ".dockerignore").read_text()
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name:
                assert name.endswith("_FILE") and value == "/run/secrets/postgres-password"
    for name in OURS:
        url = make_url(SERVICES[name]["environment"]["HPSEARCH_STORAGE"])
        assert url.password is None and not url.query
        assert url.username == SERVICES["postgres"]["environment"]["POSTGRES_USER"]
        assert url.database == SERVICES["postgres"]["environment"]["POSTGRES_DB"]
        assert url.host == "postgres" and url.port is None


def test_workers_read_data_and_studies_and_write_runs_and_cache() -> None:
    data, *others = SERVICES["worker"]["volumes"]
    assert data["target"] == "/hpsearch/data" and data["read_only"] is True
    assert "./studies:/hpsearch/studies:ro" in others
    assert "runs:/hpsearch/runs" in others and "cache:/hpsearch/cache" in others
    assert "volumes" not in SERVICES["dashboard"], "it needs the database alone"


# The services, as processes


@dataclass
class Containers:
    """Runs the file's services as processes below a folder that stands for their file system."""

    folder: Path
    storage: str
    port: int
    _running: list[subprocess.Popen[str]] = field(default_factory=list)

    def here(self, value: str) -> str:
        """Return where a path of the container is in this test; other values as they are."""
        return f"{self.folder}{value}" if value.startswith(("/hpsearch", "/run/")) else value

    def start(self, service: str, *command: str) -> subprocess.Popen[str]:
        """Start a service, with another command than its own where one is given."""
        defined = SERVICES[service]
        environment = {
            name: self.here(interpolated(value)) for name, value in defined["environment"].items()
        } | {"HPSEARCH_STORAGE": self.storage}
        entrypoint = json.loads(dockerfile("ENTRYPOINT"))
        assert entrypoint == ["hpsearch"], "or else start another program below"
        own = [str(self.port) if word == "8080" else word for word in defined["command"]]
        process = subprocess.Popen(
            [sys.executable, "-m", *entrypoint, *(command or own)],
            cwd=self.here(dockerfile("WORKDIR")),
            env={k: v for k, v in os.environ.items() if not k.startswith("HPSEARCH_")}
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        return process

    def run(self, service: str, *command: str) -> str:
        """Do as `docker compose run --rm SERVICE COMMAND`, and return what it printed."""
        process = self.start(service, *command)
        out, err = process.communicate(timeout=LONGEST_S)
        assert process.returncode == 0, out + err
        assert GUARDED_PASSWORD not in out + err
        return out

    def stop(self, process: subprocess.Popen[str]) -> str:
        """Do as `docker stop`: SIGTERM, and no longer than Docker waits; return what was said."""
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=DOCKER_KILLS_AFTER_S)
        assert process.returncode == 0, out + err
        return out + err

    def kill(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def containers(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Containers]:
    """What the file describes, with its secret written and its database empty."""
    for volume in ("data", "studies", "runs", "cache"):
        (tmp_path / "hpsearch" / volume).mkdir(parents=True)
    (tmp_path / "run/secrets").mkdir(parents=True)
    (tmp_path / "run/secrets/postgres-password").write_text(f"{GUARDED_PASSWORD}\n")
    for name, epochs in (("tiny", 1), ("long", 1000)):
        study = tmp_path / f"hpsearch/studies/{name}.yaml"
        study.write_text(STUDY.format(name=name, epochs=epochs))
    postgres_server.create("compose", owner=GUARDED_ROLE)
    started = Containers(tmp_path, postgres_server.url("compose", GUARDED_ROLE), free_port())
    yield started
    started.kill()
    postgres_server.drop("compose")


def fetched(url: str) -> Any:
    """Return the JSON at a URL as soon as somebody answers there."""
    deadline = time.monotonic() + LONGEST_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)


def arguments_of(process: subprocess.Popen[str]) -> str:
    """Return what `ps` shows of a process and its children."""
    command = ["ps", "-e", "-o", "ppid=,pid=,args="]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    pid = str(process.pid)
    return "\n".join(line for line in shown.stdout.splitlines() if pid in line.split()[:2])


def wait_for(there: Callable[[], object], worker: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not there():
        assert worker.poll() is None, "".join(worker.communicate())
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_studies_go_from_the_queue_to_their_report_and_survive_a_stop(
    containers: Containers,
) -> None:
    containers.run("worker", "launch", "--detach", "studies/long.yaml", "--priority", "-1")
    containers.run("worker", "launch", "--detach", "studies/tiny.yaml")
    worker, dashboard = containers.start("worker"), containers.start("dashboard")

    listed = fetched(f"http://127.0.0.1:{containers.port}/api/studies")["study_summaries"]
    assert {study["study_name"] for study in listed} == {"tiny", "long"}
    said = containers.stop(dashboard)

    runs = containers.folder / "hpsearch/runs"
    wait_for((runs / "tiny/trials.csv").exists, worker)
    wait_for(lambda: list(runs.glob("checkpoints/long/*.ckpt")), worker)
    status = json.loads(containers.run("worker", "status", "--json"))
    tiny, long = sorted(status["studies"], key=lambda study: -study["priority"])
    assert tiny["state"] == "done" and tiny["trials"]["complete"] == 2
    assert {"report.md", "best.yaml", "model.safetensors"} <= set(os.listdir(runs / "tiny"))
    assert long["state"] == "open" and long["trials"]["running"] == 1, "in the turn of its priority"

    shown = arguments_of(worker)
    assert "hpsearch worker" in shown and GUARDED_PASSWORD not in shown
    said += containers.stop(worker)
    left = json.loads(containers.run("worker", "status", "long", "--json"))
    assert left["trials"]["running"] == 0 and left["trials"]["interrupted"] == 1
    assert left["checkpoint_bytes"] > 0, "the trial is kept for another worker"
    assert GUARDED_PASSWORD not in said
