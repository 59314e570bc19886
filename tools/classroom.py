"""What a class takes: students behind a real JupyterHub run a chapter at the same moment, and are measured.

python tools/classroom.py                              ten students, chapter 03
python tools/classroom.py --students 1 --chapter 07    one student, chapter 07

The hub is that of docs/classroom/jupyterhub_config.py, on free ports of this machine only, with homes in a
temporary folder. Students need no accounts, and nobody can log in. docs/classroom.md says what to install
first, and what was measured.
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = ROOT / "docs/classroom/jupyterhub_config.py"
PATIENCE = 600  # seconds: for servers to start, and for a single cell
MB = 1e6

# What the trial changes in the real configuration: where it listens, that nobody can log in, and that
# students are only names. The script itself comes in as a service, with a token.
TRIAL = """
load_subconfig({configuration!r})
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_port = {hub}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.JupyterHub.authenticator_class = "null"
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}
c.Spawner.args += {arguments!r}
c.JupyterHub.services += [{{"name": "trial", "api_token": {token!r}}}]
c.JupyterHub.load_roles += [
    {{"name": "trial", "scopes": ["admin:users", "admin:servers", "access:servers"], "services": ["trial"]}}
]
"""


class Hub:
    """The hub's public address, seen by someone with a token."""

    def __init__(self, port: int, token: str) -> None:
        self.address = f"127.0.0.1:{port}"
        self.headers = {"Authorization": f"token {token}"}

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that an API answers with."""
        content = None if method == "GET" else json.dumps(body or {})
        answer = await AsyncHTTPClient().fetch(
            f"http://{self.address}{path}",
            method=method,
            headers=self.headers,
            body=content,
            request_timeout=PATIENCE,
        )
        return json.loads(answer.body) if answer.body else None

    async def channels(self, path: str) -> Any:
        request = HTTPRequest(f"ws://{self.address}{path}", headers=self.headers, request_timeout=PATIENCE)
        return await websocket_connect(request, max_message_size=2**30)


@contextmanager
def running_hub(folder: Path) -> Iterator[tuple[Hub, psutil.Process]]:
    """A hub that keeps everything in `folder`, and its process; all that it started ends with it."""
    token = secrets.token_hex(32)
    public, hub, proxy = free_ports(3)
    configuration = folder / "jupyterhub_config.py"
    configuration.touch(mode=0o600)  # it holds the token
    configuration.write_text(
        TRIAL.format(
            configuration=str(CONFIGURATION),
            public=public,
            hub=hub,
            proxy=proxy,
            homes=str(folder / "{username}"),
            arguments=["--allow-root"] if os.geteuid() == 0 else [],
            token=token,
        ),
        encoding="utf-8",
    )
    with open(folder / "hub.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(configuration)],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Hub(public, token), psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


# The students


@dataclass
class Student:
    """One student, and what was measured."""

    name: str
    starting: float = 0.0  # seconds until the server was there
    cells: list[float] = field(default_factory=list)  # seconds that each cell took
    failed: list[str] = field(default_factory=list)
    working: float = 0.0  # seconds for the whole chapter, with the start of its kernel

    async def start(self, hub: Hub) -> None:
        """Ask for a server, and wait until it is there."""
        begun = time.perf_counter()
        await hub.ask("POST", f"/hub/api/users/{self.name}")
        await hub.ask("POST", f"/hub/api/users/{self.name}/server")
        while not (await hub.ask("GET", f"/hub/api/users/{self.name}"))["servers"].get("", {}).get("ready"):
            if time.perf_counter() - begun > PATIENCE:
                raise TimeoutError(f"the server of {self.name} has not started")
            await asyncio.sleep(0.5)
        self.starting = time.perf_counter() - begun

    async def run(self, hub: Hub, chapter: str) -> None:
        """Open the chapter as JupyterLab does, and run all its cells."""
        begun = time.perf_counter()
        server = f"/user/{self.name}/api"
        notebook = await hub.ask("GET", f"{server}/contents/seqlib/{chapter}")
        session = await hub.ask(
            "POST",
            f"{server}/sessions",
            {
                "name": chapter,
                "path": f"seqlib/{chapter}",
                "type": "notebook",
                "kernel": {"name": "python3"},
            },
        )
        kernel = await hub.channels(f"{server}/kernels/{session['kernel']['id']}/channels")
        for cell in notebook["content"]["cells"]:
            if cell["cell_type"] == "code":
                cell_begun = time.perf_counter()
                failure = await asyncio.wait_for(execute(kernel, cell["source"]), PATIENCE)
                self.cells.append(time.perf_counter() - cell_begun)
                self.failed += [f"{self.name}: {failure}"] if failure else []
        self.working = time.perf_counter() - begun


async def execute(kernel: Any, source: str) -> str:
    """Run the code in the kernel until it is idle again; returns the error, as a rule none."""
    request = {
        "header": {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "session": "trial",
            "username": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {"code": source, "silent": False, "store_history": True, "allow_stdin": False},
        "channel": "shell",
    }
    await kernel.write_message(json.dumps(request))
    failure, waiting = "", {"execute_reply", "idle"}
    while waiting:
        text = await kernel.read_message()
        if text is None:
            raise ConnectionError("the kernel's connection was closed")
        if isinstance(text, bytes):  # pictures of an explorer
            continue
        message = json.loads(text)
        if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:  # type: ignore[index]
            continue
        if message["msg_type"] == "error":
            failure = f"{message['content']['ename']}: {message['content']['evalue']}"
        waiting -= {message["msg_type"], message["content"].get("execution_state")}
    return failure


# What they take


class Meter:
    """Memory and CPU time of the hub and of each student, from all processes below the hub's.

    Memory is PSS where the system tells it: a page that ten processes share counts a tenth in each. Elsewhere
    it is what a process has for itself alone.
    """

    def __init__(self, hub: psutil.Process) -> None:
        self.hub = hub
        self.owners: dict[int, str] = {}
        self.peaks: dict[str, float] = defaultdict(float)  # by student; "" is the hub with its proxy
        self.peak_of_all = 0.0  # of all students at the same moment
        self.seconds: dict[int, float] = {}  # of CPU time, by process

    def look(self) -> None:
        memory: dict[str, float] = defaultdict(float)
        for process in [self.hub, *self.hub.children(recursive=True)]:
            try:
                if process.pid not in self.owners:
                    self.owners[process.pid] = process.environ().get("JUPYTERHUB_USER", "")
                owner = self.owners[process.pid]
                used = process.memory_full_info()
                memory[owner] += getattr(used, "pss", used.uss)
                times = process.cpu_times()
                self.seconds[process.pid] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        for owner, used in memory.items():
            self.peaks[owner] = max(self.peaks[owner], used)
        self.peak_of_all = max(self.peak_of_all, sum(memory.values()) - memory[""])

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU time so far, by student."""
        total: dict[str, float] = defaultdict(float)
        for pid, seconds in self.seconds.items():
            total[self.owners[pid]] += seconds
        return total

    async def keep_looking(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(1)


async def trial(hub: Hub, process: psutil.Process, students: list[Student], chapter: str) -> None:
    """All servers are started together, then all students run the chapter together; prints what it took."""
    begun, load = time.perf_counter(), os.getloadavg()[0]
    while True:
        try:
            await hub.ask("GET", "/hub/api/users")
            break
        except (OSError, HTTPClientError):  # it is still starting
            if not process.is_running() or time.perf_counter() - begun > 60:
                raise
            await asyncio.sleep(0.5)

    meter = Meter(process)
    watching = asyncio.create_task(meter.keep_looking())
    await asyncio.gather(*(student.start(hub) for student in students))
    meter.look()
    before = meter.cpu()
    await asyncio.gather(*(student.run(hub, chapter) for student in students))
    watching.cancel()
    meter.look()
    after = meter.cpu()

    names = [student.name for student in students]
    print(f"{len(students)} students, {len(students[0].cells)} cells of {chapter}")
    print(f"{os.cpu_count()} cores, load {load:.1f} before\n")
    print(f"{'':44}{'least':>8}{'median':>8}{'most':>8}")
    row("server ready after, seconds", [student.starting for student in students])
    row("CPU time of that, seconds", [before[name] for name in names])
    row("chapter, seconds", [student.working for student in students])
    row("CPU time of that, seconds", [after[name] - before[name] for name in names])
    row("longest cell, seconds", [max(student.cells) for student in students])
    row("peak memory, MB", [meter.peaks[name] / MB for name in names])
    print(f"all students at once, peak: {meter.peak_of_all / MB:.0f} MB")
    print(f"hub, proxy and culler, peak: {meter.peaks[''] / MB:.0f} MB, CPU time {after['']:.0f} s")
    failed = [failure for student in students for failure in student.failed]
    print(*failed or ["no cell failed"], sep="\n")


def row(title: str, values: list[float]) -> None:
    print(f"{title:44}{min(values):8.1f}{statistics.median(values):8.1f}{max(values):8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--students", type=int, default=10)
    parser.add_argument("--chapter", default="03", metavar="NN")
    options = parser.parse_args()
    (chapter,) = (ROOT / "notebooks").glob(f"{options.chapter}_*.ipynb")
    students = [Student(f"student{number:02}") for number in range(1, options.students + 1)]
    AsyncHTTPClient.configure(None, max_clients=options.students)
    with tempfile.TemporaryDirectory() as folder, running_hub(Path(folder)) as (hub, process):
        try:
            asyncio.run(trial(hub, process, students, chapter.name))
        except BaseException:
            print((Path(folder) / "hub.log").read_text()[-5000:], file=sys.stderr)
            raise


if __name__ == "__main__":
    main()
