"""A provider of identities (OpenID Connect) that signs in whomever the test names, at once."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "dashboard", "hush-hush-hush"


class Provider(ThreadingHTTPServer):
    """Listens on loopback; `mail` is who signs in next."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mail = ""
        self.key = RSAKey.generate_key(2048, {"kid": "one"}, auto_kid=False)
        self.nonces: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def secrets(self, dashboard: str, operators: list[str]) -> str:
        """What `.streamlit/secrets.toml` says of this provider."""
        return f"""
[auth]
redirect_uri = "{dashboard}/oauth2callback"
cookie_secret = "only-for-this-test-and-long-enough-for-it"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
server_metadata_url = "{self.url}/.well-known/openid-configuration"

[roles]
operators = {json.dumps(operators)}
"""


@contextmanager
def providing() -> Iterator[Provider]:
    with Provider() as provider:
        thread = threading.Thread(target=provider.serve_forever, daemon=True)
        thread.start()
        yield provider
        provider.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, *_: Any) -> None:
        return None

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        base = self.server.url
        if path == "/.well-known/openid-configuration":
            self._say(
                {
                    "issuer": base,
                    "authorization_endpoint": f"{base}/authorize",
                    "token_endpoint": f"{base}/token",
                    "jwks_uri": f"{base}/jwks",
                    "response_types_supported": ["code"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )
        elif path == "/jwks":
            self._say({"keys": [self.server.key.as_dict(private=False)]})
        elif path == "/authorize":
            code = str(len(self.server.nonces))
            self.server.nonces[code] = asked["nonce"]
            back = urllib.parse.urlencode({"code": code, "state": asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{back}")
            self.end_headers()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = dict(urllib.parse.parse_qsl(body))
        claims = {
            "iss": self.server.url,
            "aud": CLIENT_ID,
            "sub": self.server.mail,
            "email": self.server.mail,
            "nonce": self.server.nonces[said["code"]],
            "iat": int(time.time()),
            "exp": int(time.time()) + 600,
        }
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.server.key)
        self._say(
            {"access_token": "a", "token_type": "Bearer", "id_token": token, "expires_in": 600}
        )

    def _say(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
