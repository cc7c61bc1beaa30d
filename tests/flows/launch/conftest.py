import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@pytest.fixture
def answers(monkeypatch):
    """Answers of a stand-in server by the end of the path; each a list, of which the last stays."""
    given = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            queue = next(queue for path, queue in given.items() if self.path.endswith(path))
            code, answer = queue.pop(0) if len(queue) > 1 else queue[0]
            given.setdefault("asked", []).append((self.path, body))
            given.setdefault("headers", []).append(dict(self.headers))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        do_POST = do_DELETE = do_GET  # noqa: N815 - the names http.server calls

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        monkeypatch.setattr("flows.launch.requests.time.sleep", lambda _: None)
        yield given
        server.shutdown()
