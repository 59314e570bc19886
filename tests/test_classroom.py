"""What is said of a class in docs/classroom.md is what its files say, and the files name what is there."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import classroom  # tools/classroom.py
import environment  # tools/environment.py
import pytest
import yaml
from packaging.specifiers import SpecifierSet
from traitlets.config.loader import PyFileConfigLoader

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/classroom"
TEXT = (ROOT / "docs/classroom.md").read_text(encoding="utf-8")
CLUSTER = yaml.safe_load((FOLDER / "values.yaml").read_text(encoding="utf-8"))
STUDENT = CLUSTER["singleuser"]
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
DEVCONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
PYTHONS = SpecifierSet(
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
)


@pytest.fixture
def load(monkeypatch):
    """Read a configuration as JupyterHub does."""
    monkeypatch.setenv("PATH", os.environ["PATH"])  # the configuration changes it
    return lambda path: PyFileConfigLoader(path.name, path=str(path.parent)).load_config()


@pytest.fixture
def machine(load):
    return load(FOLDER / "jupyterhub_config.py")


def table() -> dict[str, list[float]]:
    """The rows of numbers in the text's tables, by their titles."""
    rows = re.findall(r"^\| ([^|]+) \|((?: *[\d.]+ *\|)+)$", TEXT, flags=re.MULTILINE)
    return {title: [float(number) for number in re.findall(r"[\d.]+", numbers)] for title, numbers in rows}


def gigabytes(text: str) -> float:
    assert text.endswith("G")
    return float(text[:-1])


# One machine


def test_a_student_has_the_same_limits_on_one_machine_and_on_a_cluster(machine):
    assert machine.Spawner.mem_limit == STUDENT["memory"]["limit"]
    assert machine.Spawner.cpu_limit == STUDENT["cpu"]["limit"]
    assert machine.Spawner.environment == STUDENT["extraEnv"]
    assert machine.Spawner.default_url == STUDENT["defaultUrl"]
    assert f"--timeout={CLUSTER['cull']['timeout']}" in machine.JupyterHub.services[0]["command"]


def test_the_text_shows_the_limits_of_the_cluster():
    (shown,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    assert yaml.safe_load(shown)["singleuser"] == {name: STUDENT[name] for name in ("memory", "cpu")}


def test_only_the_machine_itself_is_listened_to(machine):
    assert machine.JupyterHub.bind_url.startswith("http://127.0.0.1:")


def test_what_starts_a_server_is_there(machine):
    (start,) = machine.Spawner.cmd
    assert start == str(FOLDER / "start.sh")
    assert os.name == "nt" or os.access(start, os.X_OK)
    assert (ROOT / "notebooks" / Path(machine.Spawner.default_url).name).is_file()


@pytest.mark.skipif(os.name == "nt", reason="a shell script, for Linux")
def test_a_student_gets_the_chapters_and_keeps_what_was_written(tmp_path):
    server = tmp_path / "bin" / "jupyterhub-singleuser"
    server.parent.mkdir()
    server.write_text('#!/bin/sh\necho "started with $*"\n')
    server.chmod(0o755)
    written = tmp_path / "seqlib/03_bptt.ipynb"
    written.parent.mkdir()
    written.write_text("mine")
    variables = {"HOME": str(tmp_path), "PATH": f"{server.parent}:{os.environ['PATH']}"}
    for _ in range(2):
        started = subprocess.check_output([FOLDER / "start.sh", "--port=1"], env=variables, text=True)
        assert started == "started with --port=1\n"
    chapters = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.name for path in written.parent.iterdir()} == chapters
    assert written.read_text() == "mine"


# The trial


@pytest.fixture
def trial(load, tmp_path):
    path = tmp_path / "jupyterhub_config.py"
    values = {"public": 1, "hub": 2, "proxy": 3, "homes": "/homes/{username}", "arguments": [], "token": "t"}
    path.write_text(classroom.TRIAL.format(configuration=str(classroom.CONFIGURATION), **values))
    return load(path)


def test_nobody_can_log_in_to_the_trial_and_nobody_else_can_reach_it(trial):
    assert trial.JupyterHub.authenticator_class == "null"
    assert trial.JupyterHub.bind_url == "http://127.0.0.1:1"
    assert trial.ConfigurableHTTPProxy.api_url == "http://127.0.0.1:3"


def test_the_trial_is_of_the_configuration_that_a_class_gets(trial, machine):
    assert trial.Spawner == machine.Spawner
    assert trial.JupyterHub.services[:-1] == machine.JupyterHub.services
    assert trial.JupyterHub.load_roles[:-1] == machine.JupyterHub.load_roles


class Kernel:
    """Answers an execution with these messages, each as one of that execution unless it says otherwise."""

    def __init__(self, *messages):
        self.messages = list(messages)

    async def write_message(self, text):
        self.request = json.loads(text)["header"]

    async def read_message(self):
        message = self.messages.pop(0)
        return json.dumps({"parent_header": self.request} | message) if isinstance(message, dict) else message


REPLY = {"msg_type": "execute_reply", "content": {}}
IDLE = {"msg_type": "status", "content": {"execution_state": "idle"}}
ERROR = {"msg_type": "error", "content": {"ename": "ValueError", "evalue": "no"}}


def test_a_cell_is_through_when_it_has_been_answered_and_the_kernel_is_idle():
    elsewhere = IDLE | {"parent_header": {"msg_id": "another"}}
    kernel = Kernel(elsewhere, b"picture", IDLE, REPLY, "next")
    assert asyncio.run(classroom.execute(kernel, "1")) == ""
    assert kernel.messages == ["next"]


def test_a_cell_that_fails_is_told():
    assert asyncio.run(classroom.execute(Kernel(ERROR, REPLY, IDLE), "1")) == "ValueError: no"


def test_a_kernel_that_ends_is_told():
    with pytest.raises(ConnectionError):
        asyncio.run(classroom.execute(Kernel(REPLY, None), "1"))


@pytest.mark.skipif(sys.platform != "linux", reason="the share of a shared page is told by Linux")
def test_memory_is_counted_for_the_student_whose_process_it_is():
    code = "import sys; held = b'x' * 50_000_000; print(flush=True); sys.stdin.read()"
    variables = os.environ | {"JUPYTERHUB_USER": "student01"}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        meter = classroom.Meter(classroom.psutil.Process())
        meter.look()
        process.stdin.close()
    assert 50e6 < meter.peaks["student01"] < 100e6
    assert meter.peaks["student01"] == meter.peak_of_all


# The numbers


def test_the_guarantee_holds_the_largest_chapter_and_the_limit_holds_the_two_largest():
    *_, second, largest = sorted(peak for peak, _ in chapters().values())
    assert largest <= gigabytes(STUDENT["memory"]["guarantee"]) * 1000
    assert second + largest <= gigabytes(STUDENT["memory"]["limit"]) * 1000


def chapters() -> dict[str, tuple[float, float]]:
    return {title: tuple(numbers) for title, numbers in table().items() if re.match(r"\d\d ", title)}


def test_every_chapter_of_the_table_is_a_chapter():
    assert len(chapters()) >= 4
    assert [title for title in chapters() if not list(ROOT.glob(f"notebooks/{title[:2]}_*.ipynb"))] == []


def test_a_class_of_100_needs_what_the_text_says():
    memory, cores = gigabytes(STUDENT["memory"]["guarantee"]) * 100, STUDENT["cpu"]["guarantee"] * 100
    assert f"{memory:.0f} GB of memory and {cores:.0f} cores" in TEXT


# Images


def test_images_have_a_python_that_the_course_runs_on():
    binder = (ROOT / ".binder/runtime.txt").read_text(encoding="utf-8").strip()
    images = [binder, DEVCONTAINER["image"], *re.findall(r"^FROM (.*)", DOCKERFILE, flags=re.MULTILINE)]
    versions = [re.search(r"python[:-](3\.\d+)", image).group(1) for image in images]
    assert [version for version in versions if not PYTHONS.contains(f"{version}.0")] == []


def test_images_take_pytorch_from_where_the_course_says():
    lines = (ROOT / ".binder/requirements.txt").read_text(encoding="utf-8").splitlines()
    assert f"--extra-index-url {environment.CPU_INDEX}" in lines
    assert DEVCONTAINER["containerEnv"]["TORCH_INDEX"] == environment.CPU_INDEX


def test_images_are_made_from_files_that_are_there():
    lines = (ROOT / ".binder/requirements.txt").read_text(encoding="utf-8").splitlines()
    (pins,) = [line.removeprefix("-c ") for line in lines if line.startswith("-c ")]
    assert (ROOT / ".binder" / pins).resolve() == ROOT / "constraints.txt"
    python, script = DEVCONTAINER["onCreateCommand"].split()
    assert (ROOT / script).is_file()
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    assert [name for names in copied for name in names if not (ROOT / name).exists()] == []


def test_the_image_has_what_the_cluster_starts():
    workdir = re.findall(r"^WORKDIR (.*)", DOCKERFILE, flags=re.MULTILINE)[0]
    assert STUDENT["cmd"][0] == f"{workdir}/docs/classroom/start.sh"
    assert f"-t {STUDENT['image']['name']}:{STUDENT['image']['tag']} ." in DOCKERFILE
