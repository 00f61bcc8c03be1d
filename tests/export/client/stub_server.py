"""An HTTP server that answers as a test tells it to."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stub_server(answer: Callable[[http.server.BaseHTTPRequestHandler, str, bytes], None]) -> Iterator[str]:
    """Yields the URL of a server that calls `answer(handler, path, body)` for each POST."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            answer(self, self.path, self.rfile.read(int(self.headers['Content-Length'])))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def send(handler: http.server.BaseHTTPRequestHandler, code: int, body: bytes) -> None:
    """Answers with a status and a body; the connection then closes."""
    handler.send_response(code)
    handler.end_headers()
    handler.wfile.write(body)
