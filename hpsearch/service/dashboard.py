"""optuna-dashboard on our storage, to look at and not to touch."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna_dashboard import wsgi
from waitress import create_server

from hpsearch.errors import HpsearchError
from hpsearch.reports.importances import with_fanova
from hpsearch.service.paused_notes import NotedStore
from hpsearch.storage.storage import Storage
from hpsearch.study.names import plain

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


def read_only(app: WSGIApplication) -> WSGIApplication:
    """Return the app answering GET and HEAD alone, and requests addressed to this machine alone.

    optuna-dashboard has no authentication, and its POST requests can overwrite scores and delete
    studies. The Host check keeps pages of other sites from reading it through a name of theirs.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = str(environ.get("HTTP_HOST", "")).rsplit(":", 1)[0]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refused(start_response, "this dashboard is read-only")
        if name not in LOCAL_NAMES:
            return _refused(start_response, "this dashboard answers on this machine only")
        return app(environ, start_response)

    return guarded


def _refused(start_response: StartResponse, reason: str) -> Iterable[bytes]:
    body = f'{{"reason": "{reason}"}}'.encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("403 Forbidden", headers)
    return [body]


def serve(storage: Storage, port: int, host: str = "127.0.0.1") -> Any:
    """Return a server for the dashboard, listening; its `run()` serves for ever.

    Another `host` is for containers whose port is published on 127.0.0.1: requests by any other
    name than this machine's are refused all the same.
    """
    try:
        return create_server(
            read_only(with_fanova(wsgi(NotedStore(storage)), storage)),
            host=host,
            port=port,
            threads=4,
        )
    except OSError as error:
        raise HpsearchError(
            f"port {port} of {host}: {error.strerror}; choose another with --port"
        ) from None
    except ValueError:  # of waitress, and UnicodeError of what is no name at all
        raise HpsearchError(
            f"--host: {plain(host[:100])!r} is no address of this machine; use 127.0.0.1"
        ) from None


def free_port(preferred: int) -> int:
    """Return `preferred` where nothing listens on it, else a free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
