"""The server's connection to the browser: the same as Jupyter's, but nothing waits for Nagle's algorithm."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from jupyter_server.gateway.connections import GatewayWebSocketConnection
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect

from seqlib.server import PromptWebsocketConnection

ROOT = Path(__file__).parents[1]


@pytest.fixture
def jupyters_connect(monkeypatch) -> list[str]:
    """Jupyter's own `connect` without a kernel: it notes that it was called."""
    calls: list[str] = []
    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda self: calls.append("connected"))
    return calls


def test_the_browsers_socket_no_longer_waits_once_connected(jupyters_connect):
    seen = []

    class Handler(KernelWebsocketHandler):
        async def prepare(self):  # no users and no kernels here
            self.connection = PromptWebsocketConnection(websocket_handler=self)

        async def get(self):
            await WebSocketHandler.get(self)

        def nodelay(self) -> bool:
            option = self.ws_connection.stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            return bool(option)

        async def open(self):
            seen.append(self.nodelay())
            self.connection.connect()
            seen.append(self.nodelay())
            self.close()

        def on_close(self):
            pass

    async def visit():
        server = HTTPServer(Application([("/", Handler)]))
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            server.add_socket(listening)
            client = await websocket_connect(f"ws://127.0.0.1:{listening.getsockname()[1]}/")
            await client.read_message()  # None: it was closed
            client.close()
            server.stop()
            await server.close_all_connections()

    asyncio.run(visit())
    assert seen == [False, True]
    assert jupyters_connect == ["connected"]


def test_a_handler_without_that_option_is_served_as_jupyter_does(jupyters_connect):
    connection = PromptWebsocketConnection()
    connection.set_trait("websocket_handler", KernelWebsocketHandler.__new__(KernelWebsocketHandler))
    connection.websocket_handler.set_nodelay = None
    connection.connect()
    assert jupyters_connect == ["connected"]


def test_behind_a_gateway_the_server_gets_jupyters_gateway_connection():
    GatewayClient.clear_instance()
    try:
        GatewayClient.instance().url = "http://gateway.invalid:8888"
        assert type(PromptWebsocketConnection()) is GatewayWebSocketConnection
    finally:
        GatewayClient.clear_instance()
    assert type(PromptWebsocketConnection()) is PromptWebsocketConnection


def test_the_package_installs_the_file_that_enables_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert installed["seqlib/server.json"] == "etc/jupyter/jupyter_server_config.d/seqlib.json"


JUPYTERS_OWN = "jupyter_server.services.kernels.connection.channels.ZMQChannelsWebsocketConnection"


SERVERS = """
import json, sys
from jupyter_server.serverapp import ServerApp
for arguments in json.loads(sys.argv[1]):
    server = ServerApp()
    server.initialize(["--allow-root", *arguments], new_httpserver=False)
    print(server.web_app.settings["kernel_websocket_connection_class"].__name__)
"""


def test_a_server_with_that_file_uses_it_unless_told_otherwise(tmp_path):
    folder = tmp_path / "jupyter_server_config.d"
    folder.mkdir()
    shutil.copy(ROOT / "seqlib/server.json", folder / "seqlib.json")
    places = dict.fromkeys(("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"), str(tmp_path))
    # in one process: Jupyter takes longer to import than to make three servers
    arguments = [
        [f"--ServerApp.kernel_websocket_connection_class={JUPYTERS_OWN}"],
        [],
        ["--ServerApp.jpserver_extensions={'seqlib.server': False}"],
    ]
    run = subprocess.run(
        [sys.executable, "-c", SERVERS, json.dumps(arguments)],
        env=os.environ | places,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    used = [ZMQChannelsWebsocketConnection, PromptWebsocketConnection, ZMQChannelsWebsocketConnection]
    assert run.stdout.split() == [connection.__name__ for connection in used], run.stderr
