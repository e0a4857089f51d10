"""Serves the page to this machine, and keeps it from asking the internet for anything."""

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from kfsl.demo.page import Page
from kfsl.demo.workbench import Workbench

#: What Gradio reads when it is imported: no telemetry, no look for newer versions.
QUIET = {"GRADIO_ANALYTICS_ENABLED": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
#: The browser fetches from the page's own server alone, whatever a component asks for.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; frame-ancestors 'none'"
)
STYLE = """
#table {overflow-x: auto} #table table {width: 100%}
#table td, #table th {padding: 2px 8px; text-align: left}
#message [role=alert] {border-left: 4px solid #d1383d; padding: 8px 12px; font-weight: bold}
.card {border: 1px solid #d0d4da; border-radius: 8px; padding: 10px}
.images .grid-wrap {min-height: 0; height: auto}
.images .grid-container {grid-template-columns: repeat(auto-fill, 84px) !important}
.images img {image-rendering: pixelated}
"""


def serve(bench: Workbench, host: str, port: int) -> None:
    """Serves the page until the process is interrupted or told to end.

    Args:
        bench: `Workbench`.
        host: str.
        port: int.

    Raises:
        OSError: if something else has the port.
    """
    os.environ.update(QUIET)
    # What is dropped does not outlive the page, however often it is told to end.
    folder = tempfile.TemporaryDirectory(prefix="kfsl-demo-")
    with _until_told_to_end() as ended, folder as os.environ["GRADIO_TEMP_DIR"]:
        blocks = Page(bench).build()
        blocks.launch(**launch_arguments(host, port))
        print(f"The page is at http://{host}:{port} (Ctrl-C ends it).", flush=True)
        ended.wait()
        blocks.close(verbose=False)


def launch_arguments(host: str, port: int) -> dict[str, Any]:
    """How Gradio is to serve.

    Args:
        host: str.
        port: int.

    Returns:
        dict, arguments of `gradio.Blocks.launch`.
    """
    import gradio
    from starlette.middleware import Middleware

    # Gradio's own fonts come from Google.
    theme = gradio.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    return {
        "server_name": host,
        "server_port": port,
        "share": False,
        "inbrowser": False,
        "quiet": True,
        "prevent_thread_lock": True,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "footer_links": [],
        "theme": theme,
        "css": STYLE,
        "app_kwargs": {"middleware": [Middleware(OwnServerAlone)]},
    }


class OwnServerAlone:
    """Middleware that sends the content security policy with every answer.

    Args:
        app: callable. The application, as ASGI has it.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message["headers"], policy]}
            await send(message)

        await self.app(scope, receive, send_with_policy)


@contextlib.contextmanager
def _until_told_to_end() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the process ends in order."""
    ended = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda *_: ended.set()) for kind in kinds}
    try:
        yield ended
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
