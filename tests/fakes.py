"""Hand-written stand-ins for what lies outside this machine. Nothing else in the tests is faked."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

Reply = tuple[int, Any]


@dataclass
class NimReply:
    """One scripted reply. calls: (name, arguments as text). spread_seconds: how long its text streams. ending: how that ends.

    done: properly. cut: the connection breaks. unfinished: it ends without a finish reason. hang: silence until the server stops.
    chances: (a token's logprob, its likeliest rival's), told with the calls.
    """

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    status: int = 200
    ending: str = "done"
    body: str = ""
    pause_seconds: float = 0.0
    spread_seconds: float = 0.0
    chances: tuple[tuple[float, float], ...] = ()


class ScriptedNim:
    """An OpenAI-compatible server on loopback that says what it was told to, in order, and remembers what it was asked.

    A reply may also be made from the request by `answer_with`. `requests` are the bodies that came, `callers` the path and the
    Authorization of each. Use as a context manager; `url` is the address without /v1.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.callers: list[tuple[str, str | None]] = []
        self.disconnected = threading.Event()
        self._replies: deque[NimReply] = deque()
        self._answer: Callable[[dict[str, Any]], NimReply] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        nim = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                nim._reply(self, body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: Any) -> None:
                nim.disconnected.set()

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/nim"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def enqueue(self, *replies: NimReply | str) -> None:
        """Add replies; a plain string is a text."""
        self._replies.extend(NimReply(reply) if isinstance(reply, str) else reply for reply in replies)

    def answer_with(self, answer: Callable[[dict[str, Any]], NimReply] | None) -> None:
        """Make each reply from its request instead; None: as it was enqueued again."""
        self._answer = answer

    def _reply(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self._lock:
            self.requests.append(body)
            self.callers.append((handler.path, handler.headers["Authorization"]))
            missing = NimReply(status=500, body='{"error": {"message": "nothing was scripted"}}')
            reply = self._answer(body) if self._answer else self._replies.popleft() if self._replies else missing
        self._stopping.wait(reply.pause_seconds)
        if body.get("stream") and reply.status == 200 and not reply.body:
            self._stream(handler, body, reply)
            return
        calls = [
            {"id": f"c{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for index, (name, arguments) in enumerate(reply.calls)
        ]
        message = {"role": "assistant", "content": reply.text or None, **({"tool_calls": calls} if calls else {})}
        whole = {"id": "c", "object": "chat.completion", "created": 0, "model": body["model"],
                 "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}  # fmt: skip
        data = (reply.body or json.dumps(whole)).encode()
        handler.send_response(reply.status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _stream(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], reply: NimReply) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()

        def send(text: str) -> None:
            data = text.encode()
            handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

        def chunk(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
            event = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": body["model"], "choices": [choice]}
            send(f"data: {json.dumps(event)}\n\n")

        step = max(5, len(reply.text) // 50)
        for start in range(0, len(reply.text), step):
            chunk({"content": reply.text[start : start + step]})
            self._stopping.wait(reply.spread_seconds * step / len(reply.text))
        for index, (name, arguments) in enumerate(reply.calls):
            head = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, "arguments": ""}}
            chunk({"tool_calls": [head]})
            for start in range(0, len(arguments), 7):
                chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments[start : start + 7]}}]})
        told = _chances(reply) if body.get("logprobs") else None
        chunk({}, logprobs=told)
        if reply.ending == "hang":
            while not self._stopping.wait(0.02):
                send(": still here\n\n")  # finds out when the client has gone
        if reply.ending == "cut":
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if reply.ending == "done":
            chunk({}, "tool_calls" if reply.calls else "stop")
            send("data: [DONE]\n\n")
        send("")


def _chances(reply: NimReply) -> dict[str, Any] | None:
    """The tokens' probabilities as the wire tells them."""

    def token(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": None}

    told = [token("x", own) | {"top_logprobs": [token("x", own), token("y", rival)]} for own, rival in reply.chances]
    return {"content": told, "refusal": None} if told else None


class Judge(ScriptedNim):
    """The judge or the model of an evaluation that is elsewhere: one reply to everything. `endpoint` is how a config names it."""

    def __init__(self, reply: NimReply) -> None:
        super().__init__()
        self.answer_with(lambda _: reply)
        self.endpoint: Any = {"api_endpoint": {"url": f"{self.url}/v1", "model_id": "judge", "api_key": "k", "format": "openai"}}


class ScriptedServices:
    """NVIDIA's other services on loopback, which answer as they were told to: with a status and JSON, or a str as a web page,
    or bytes as a file.

    What was not scripted is answered with 404, and the second page of any list is empty. `heard` lists what came, as
    `METHOD /path`. Use as a context manager; `url` is the address.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._script: dict[str, Callable[[Message], Reply]] = {}
        self._forms: dict[str, Callable[[dict[str, str], Message], Reply]] = {}
        services = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, value = services.reply(self.command, self.path, self.headers, sent)
                text = value if isinstance(value, str | bytes) else json.dumps(value)
                body = text if isinstance(text, bytes) else text.encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if isinstance(value, str) else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ScriptedServices:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def on(self, request: str, reply: Reply | Callable[[Message], Reply]) -> None:
        """Answer this request (`METHOD /path`) so from now on; a reply may be made from the headers."""
        self._script[request] = reply if callable(reply) else lambda _: reply

    def on_form(self, request: str, reply: Callable[[dict[str, str], Message], Reply]) -> None:
        """Make the reply to this request from the form that was posted, and the headers."""
        self._forms[request] = reply

    def reply(self, method: str, target: str, headers: Message, sent: bytes) -> Reply:
        """The answer to one request."""
        address = urlsplit(target)
        request = f"{method} {address.path}"
        self.heard.append(request)
        if "page=2" in address.query.split("&"):
            return 200, {"data": []}
        if request in self._forms:
            return self._forms[request](dict(parse_qsl(sent.decode())), headers)
        reply = self._script.get(request)
        return reply(headers) if reply else (404, {"detail": f"nothing at {request}"})


class OpenIdProvider:
    """An identity provider on loopback: whoever comes is `claims`, without a question. Checks what a careful one checks.

    `wrong` replaces claims in the next tokens; `foreign_key` signs them with a key that is nobody's. Use as a context manager.
    """

    CLIENT = ("flywheel", "the-client-secret")

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {"sub": "u-17", "name": "Ann Miller", "roles": ["end_user"]}
        self.wrong: dict[str, Any] = {}
        self.foreign_key = False
        self._codes: dict[str, dict[str, str]] = {}
        self._keys = [ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256", "use": "sig"}) for _ in range(2)]
        self._services = ScriptedServices()
        self.issuer = self._services.url
        authorize, token, jwks = (f"{self.issuer}/{name}" for name in ("authorize", "token", "jwks"))
        self._services.on("GET /.well-known/openid-configuration", (200, {
            "issuer": self.issuer, "authorization_endpoint": authorize, "token_endpoint": token, "jwks_uri": jwks,
            "id_token_signing_alg_values_supported": ["ES256"],
        }))  # fmt: skip
        self._services.on("GET /jwks", (200, {"keys": [self._keys[0].as_dict(private=False)]}))
        self._services.on_form("POST /token", self._token)

    def __enter__(self) -> OpenIdProvider:
        self._services.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._services.__exit__()

    def authorize(self, address: str) -> str:
        """Where the provider sends a browser back that was sent to it with this address."""
        asked = dict(parse_qsl(urlsplit(address).query))
        assert asked["client_id"] == self.CLIENT[0] and asked["response_type"] == "code" and "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256" and asked["nonce"] and asked["state"]
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def _token(self, form: dict[str, str], headers: Message) -> Reply:
        asked = self._codes.pop(form.get("code", ""), None)
        basic = "Basic " + base64.b64encode(":".join(self.CLIENT).encode()).decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        good = asked is not None and asked["code_challenge"] == challenge and asked["redirect_uri"] == form["redirect_uri"]
        if asked is None or not good or headers["Authorization"] != basic:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.CLIENT[0], "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        signed = jwt.encode({"alg": "ES256", "kid": "k1"}, claims | self.claims | self.wrong, self._keys[self.foreign_key])
        return 200, {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": signed}


class OpenMeteo(httpx.BaseTransport):
    """The weather service: it is always 12.3 degrees with light rain. Answers in the service's own shape, for what was asked.

    `enqueue` makes the next request meet another response, or an exception that the network would raise. `requests` keeps what
    arrived.
    """

    NOW: ClassVar = {"temperature_2m": 12.3, "relative_humidity_2m": 81, "weather_code": 61, "wind_speed_10m": 14.6}
    DAY: ClassVar = {"temperature_2m_max": 13.4, "temperature_2m_min": 6.6, "weather_code": 61, "precipitation_sum": 2.5}

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._queue: deque[httpx.Response | Exception] = deque()

    def enqueue(self, outcome: httpx.Response | Exception) -> None:
        """Let the next request meet this."""
        self._queue.append(outcome)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self._queue:
            outcome = self._queue.popleft()
            if isinstance(outcome, Exception):
                raise outcome
            return self._unread(outcome)
        query = request.url.params
        body: dict[str, Any] = {"latitude": float(query["latitude"]), "longitude": float(query["longitude"])}
        if "current" in query:
            body["current"] = {"time": "2026-11-24T14:00", **{name: self.NOW[name] for name in query["current"].split(",")}}
        if "daily" in query:
            days = {name: [self.DAY[name]] for name in query["daily"].split(",")}
            body["daily"] = {"time": [query["start_date"]], **days}
        return self._unread(httpx.Response(200, json=body))

    def _unread(self, response: httpx.Response) -> httpx.Response:
        """As from a network: the body has yet to be read."""
        return httpx.Response(response.status_code, headers=response.headers, stream=response.stream)
