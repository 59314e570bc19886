"""A Jupyter server that passes a kernel's messages on at once, which makes sliders follow the hand.

TCP by default holds a small packet back while an earlier one is unacknowledged (Nagle's algorithm), and
Jupyter's server leaves that on: while a slider is dragged, each picture waits up to 40 ms for nothing. The
connection below turns it off.

This module is an extension of the server. The installed package puts `server.json`, which enables it, into
the environment's Jupyter configuration. To do without it, disable the extension (`jupyter server extension
disable seqlib.server`) or set `ServerApp.kernel_websocket_connection_class` to any class. The server imports
this module, so it needs nothing but the server itself: neither torch nor the rest of seqlib.
"""

from typing import Any

from jupyter_server.gateway.connections import GatewayWebSocketConnection
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptWebsocketConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's own connection between browser and kernel, with TCP_NODELAY set on the browser's side.

    Where kernels run behind a gateway, the server gets Jupyter's gateway connection as if this class
    were not there.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if GatewayClient.instance().gateway_enabled:
            return GatewayWebSocketConnection(*args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def connect(self) -> Any:
        """Connect to the kernel as Jupyter does, once the browser's socket no longer waits."""
        set_nodelay = getattr(self.websocket_handler, "set_nodelay", None)
        if set_nodelay is not None:
            set_nodelay(True)
        return super().connect()


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "seqlib.server"}]


def _link_jupyter_server_extension(server: ServerApp) -> None:
    """Choose the connection, before the server builds its handlers, unless its configuration chooses one."""
    if "kernel_websocket_connection_class" not in server.config.ServerApp:
        server.kernel_websocket_connection_class = PromptWebsocketConnection


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Nothing is left to do; Jupyter expects this function of every extension."""
