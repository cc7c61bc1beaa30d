"""The page's server: where it listens, its secret, and its end.

It listens on this machine alone. Another address is refused without a certificate: the secret, and photographs, would
pass the network in the clear.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import ConfigError, InputError, exit_code
from flows.page.guard import REPORT, TOKEN, Guard, Site

if TYPE_CHECKING:
    from flows.page.session import PageSession

_NEEDS_GRADIO = (
    "the page needs gradio, which is not installed; docs/page.md says how: uv pip install --require-hashes -r "
    "requirements-page.lock"
)


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the page listens."""

    host: str = "127.0.0.1"
    port: int = 7860  # 0: any that is free
    certificate: Path | None = None  # PEM, for an address beyond this machine
    key: Path | None = None  # PEM, the certificate's

    def require_safe(self) -> None:
        """Raise ConfigError for an address beyond this machine without a certificate, and for half of one."""
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--certificate and --key belong together; give both, or none")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise ConfigError(f"{path}: no such file; give the certificate and its key as PEM files")
        if self.certificate is None and not is_loopback(self.host):
            raise ConfigError(
                f"--host {self.host}: is beyond this machine, where anybody on the network could read along; give "
                "--certificate and --key, or leave --host out and come by ssh -L 7860:127.0.0.1:7860"
            )
        if self.host in {"0.0.0.0", "::", ""}:  # noqa: S104 - to refuse it
            raise ConfigError(f"--host {self.host or '(empty)'}: name one address, the one that browsers will ask for")

    @property
    def scheme(self) -> str:
        """Https with a certificate."""
        return "http" if self.certificate is None else "https"


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own and leads nowhere else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def site_of(address: Address, port: int) -> Site:
    """The page's own origins, with a secret of its own."""
    names = {address.host} | ({"127.0.0.1", "localhost"} if is_loopback(address.host) else set())
    shown = {f"[{name}]" if ":" in name else name for name in names}
    origins = frozenset(f"{address.scheme}://{name}:{port}".lower() for name in shown)
    return Site(origins=origins, token=secrets.token_urlsafe(32), cookie=f"lesionloom-{port}")


def serve_run(folder: Path, address: Address) -> int:
    """Open a run's page and serve it until Ctrl-C; the command's exit code."""
    return exit_code(lambda: _serving(folder, address))


def _serving(folder: Path, address: Address) -> int:
    address.require_safe()
    with tempfile.TemporaryDirectory(prefix="lesionloom-gradio-") as private:
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": private, "GRADIO_SSR_MODE": "False"}
        try:
            import gradio  # noqa: F401, PLC0415 - an extra
        except ModuleNotFoundError as fault:
            raise InputError(_NEEDS_GRADIO) from fault
        with closing(_bound(address)) as listening:
            _serve(folder, address, listening)
    return 0


def _serve(folder: Path, address: Address, listening: socket.socket) -> None:
    import uvicorn  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from flows.page.opened import open_run  # noqa: PLC0415
    from flows.page.session import PageSession  # noqa: PLC0415
    from flows.terminal import TerminalRunner  # noqa: PLC0415

    opened = open_run(folder, TerminalRunner(Console(highlight=False)))
    port = int(listening.getsockname()[1])
    site = site_of(address, port)
    shown = f"[{address.host}]" if ":" in address.host else address.host
    with closing(PageSession(opened)) as session:
        config = uvicorn.Config(
            app_of(session, site),
            log_level="warning",
            access_log=False,  # it would hold the secret
            server_header=False,
            ssl_certfile=address.certificate,
            ssl_keyfile=address.key,
            timeout_graceful_shutdown=2,
        )
        print(
            f"\n  {address.scheme}://{shown}:{port}/?{TOKEN}={site.token}\n\nOpen it in a browser; Ctrl-C ends it.",
            flush=True,
        )
        uvicorn.Server(config).run(sockets=[listening])


def app_of(session: PageSession, site: Site) -> Any:  # noqa: ANN401 - an ASGI app
    """The page as an app: Gradio's, the report beside it, and the guard around both."""
    import gradio as gr  # noqa: PLC0415 - an extra
    from fastapi import FastAPI  # noqa: PLC0415
    from fastapi.responses import FileResponse, PlainTextResponse, Response  # noqa: PLC0415

    from flows.page.layout import HERE, build, theme  # noqa: PLC0415

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def report() -> Response:
        path = session.opened.report
        if not path.is_file():
            return PlainTextResponse("The run has written no report yet.\n", status_code=404)
        return FileResponse(path, media_type="text/html")

    app.add_api_route(REPORT, report, methods=["GET"])
    script = (HERE / "page.js").read_text(encoding="utf-8")
    gr.mount_gradio_app(
        app,
        build(session),
        path="/",
        allowed_paths=[],
        blocked_paths=[],
        show_error=False,
        max_file_size=0,
        ssr_mode=False,
        pwa=False,
        run_history=False,  # else the browser would keep what was shown
        mcp_server=False,
        footer_links=[],
        theme=theme(),
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        head=f"<script>{script}</script>",
    )
    return Guard(app, site)


def _bound(address: Address) -> socket.socket:
    """A socket at the address. Raises InputError for one that is taken or is not this machine's."""
    try:
        family, *_, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as on_failure:
            listening = on_failure.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            on_failure.pop_all()
            return listening
    except OSError as fault:
        reason = fault.strerror or fault
        raise InputError(
            f"{address.host}:{address.port}: cannot be listened on ({reason}); give another --port, or 0 for a free one"
        ) from fault
