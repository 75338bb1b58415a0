"""An inference server elsewhere, which says what it is told to: the judge or the model of an evaluation that is not ours."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Judge:
    """Answers every chat completion with the same text or calls. Use as a context manager; `requests` keeps what was asked."""

    def __init__(self, text: str | None = None, tool_calls: list[dict[str, Any]] | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        message = {"role": "assistant", "content": text, **({"tool_calls": tool_calls} if tool_calls else {})}
        said = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                judge.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self.endpoint: Any = {"api_endpoint": {"url": url, "model_id": "judge", "api_key": "k", "format": "openai"}}

    def __enter__(self) -> Judge:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
