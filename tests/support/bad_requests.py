"""Requests to an agent that no client of ours would make."""

from __future__ import annotations

import json
import random
from typing import Any

from agents import TOKEN

NO_DIGEST = "ab" * 32
TRICKS = (
    *("..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/x", "....//x", "a/../b"),
    *(
        "/etc/passwd",
        "//etc",
        "C:%5Cx",
        "..%5c..%5cx",
        "%00",
        "a%00.onnx",
        "%c0%ae%c0%ae/",
        "~root",
    ),
    *(
        "-rf",
        ".hidden",
        "x" * 5000,
        "%F0%9F%92%A9",
        "$(id)",
        "`id`",
        "CON",
        "a%0d%0aX-Y:z",
        "%25252e",
    ),
)
WRONG = (
    None,
    "../x",
    "",
    "two words",
    -1,
    10**400,
    1e308,
    [[]],
    [None],
    {"a": {}},
    [{}],
    ["x"] * 300,
)


class Bad:
    """Requests that no client of ours would make; each with the statuses it may be answered with.

    None for a status: the request is cut off and no answer is waited for.
    """

    def __init__(self, seed: int, job: dict[str, Any], digest: str) -> None:
        self.rng, self.job, self.digest = random.Random(seed), job, digest
        self.kinds = (
            *(self.without_token, self.wrong_token, self.digest_trick, self.upload) * 4,
            *(self.job_of_wrong_form, self.job_of_wrong_bytes, self.job_of_tricks) * 4,
            *(self.name_trick, self.wrong_method, self.unknown_path) * 3,
            *(self.malformed, self.cut_upload, self.big_head, self.wait) * 2,
        )

    def next(self, i: int) -> tuple[bytes, set[int] | None]:
        return self.big_body() if i % 250 == 0 else self.rng.choice(self.kinds)()

    def http(
        self, method: str, path: str, body: bytes = b"", token: str | None = TOKEN, **more: str
    ) -> bytes:
        lines = [f"{method} /v1/{path} HTTP/1.1", "Host: device"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        if body or method in ("PUT", "POST", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def name(self) -> str:
        return f"fuzz-{self.rng.getrandbits(60):015x}"

    def new_digest(self) -> str:
        return f"{self.rng.getrandbits(256):064x}"

    def right(self, token: str | None) -> bytes:
        """What would be answered with the token."""
        path, method = self.rng.choice(
            [
                ("device", "GET"),
                (f"jobs/{self.name()}", "PUT"),
                (f"jobs/{self.name()}", "DELETE"),
                (f"files/{self.digest}", "HEAD"),
                ("nothing/here", "GET"),
                ("../../etc/passwd", "GET"),
            ]
        )
        body = json.dumps(self.job).encode() if method == "PUT" else b""
        return self.http(method, path, body, token)

    def without_token(self) -> tuple[bytes, set[int]]:
        return self.right(None), {401}

    def wrong_token(self) -> tuple[bytes, set[int]]:
        i = self.rng.randrange(len(TOKEN))
        wrong = self.rng.choice(
            [
                TOKEN[:i] + "!" + TOKEN[i + 1 :],
                TOKEN[:i],
                TOKEN + "x",
                TOKEN.swapcase(),
                f"{TOKEN}, Bearer {TOKEN}",
                f"{TOKEN}\r\nAuthorization: Bearer {TOKEN}",
                f" {TOKEN}",
                "x" * self.rng.randrange(8000),
                "\xff\xfe",
            ]
        )
        return self.right(wrong), {401}

    def digest_trick(self) -> tuple[bytes, set[int]]:
        trick = self.rng.choice(
            [
                *TRICKS,
                NO_DIGEST.upper(),
                NO_DIGEST[1:],
                NO_DIGEST + "0",
                NO_DIGEST + "%0a",
                "g" * 64,
            ]
        )
        method = self.rng.choice(["HEAD", "PATCH"])
        body = b"content" if method == "PATCH" else b""
        more = {"Upload_Offset": "0", "Upload_Length": "7"}
        return self.http(method, f"files/{trick}", body, **more), {400, 404}

    def upload(self) -> tuple[bytes, set[int]]:
        path, wrong = (
            f"files/{self.new_digest()}",
            self.rng.choice(["-1", "1e3", "", "x", "9" * 40]),
        )
        return self.rng.choice(
            [
                (self.http("PATCH", path, b"evil", Upload_Offset="0", Upload_Length="4"), {422}),
                (self.http("PATCH", path, b"evil", Upload_Offset="0", Upload_Length="2"), {413}),
                (self.http("PATCH", path, b"evil", Upload_Offset="7", Upload_Length="9"), {409}),
                (self.http("PATCH", path, b"evil", Upload_Offset="0", Upload_Length=wrong), {400}),
                (self.http("PATCH", path, b"evil", Upload_Offset=wrong, Upload_Length="4"), {400}),
                (self.http("PATCH", path, b"evil"), {400}),
                (self.http("PATCH", path, Upload_Offset="0", Upload_Length="9" * 14), {413}),
                (self.http("HEAD", path, Upload_Length="9" * 14), {413}),
            ]
        )

    def cut_upload(self) -> tuple[bytes, None]:
        head = self.http(
            *("PATCH", f"files/{self.new_digest()}"),
            Upload_Offset="0",
            Upload_Length="90000",
        ).replace(b"Content-Length: 0", b"Content-Length: 90000")
        return head + self.rng.randbytes(self.rng.randrange(60_000)), None

    def put(self, body: bytes) -> bytes:
        return self.http("PUT", f"jobs/{self.name()}", body)

    def job_of_wrong_form(self) -> tuple[bytes, set[int]]:
        job = json.loads(json.dumps(self.job))
        within = self.rng.choice([job, job["candidates"][0]])
        name = self.rng.choice(sorted(within))
        what = self.rng.randrange(3)
        if what == 0:
            del within[self.rng.choice(sorted(within.keys() - {"gpu"}))]  # which may be left out
        elif what == 1:
            within[self.rng.choice(["", "more", "__class__", "\x00", "\ud800", "x" * 9999])] = 1
        else:
            within[name] = self.rng.choice(WRONG)
        return self.put(json.dumps(job).encode()), {400}

    def job_of_tricks(self) -> tuple[bytes, set[int]]:
        job = json.loads(json.dumps(self.job))
        candidate, trick = job["candidates"][0], self.rng.choice(TRICKS)
        what = self.rng.randrange(6)
        if what == 0:
            candidate["files"] = {trick + "/": self.digest}
        elif what == 1:
            candidate["main"] = trick
        elif what == 2:
            candidate["settings"] = {trick: 1}
        elif what == 3:
            candidate["tokens"] = trick
        elif what == 4:
            job["audio"][0] = self.new_digest()  # of nothing that is there
        else:
            candidate["backend"] = self.rng.choice(["tensorrt", "openvino", "nonsense", "torch"])
        return self.put(json.dumps(job).encode()), {422 if what > 3 else 400}

    def job_of_wrong_bytes(self) -> tuple[bytes, set[int]]:
        whole = json.dumps(self.job)
        body = self.rng.choice(
            [
                b"",
                b"\xff\xfe\x00",
                self.rng.randbytes(200),
                whole[: self.rng.randrange(1, len(whole))].encode(),
                whole.encode("utf-16"),
                b"\xef\xbb\xbf" + whole.encode(),
                whole.replace('"within": 0.01', '"within": NaN').encode(),
                whole.replace('"within": 0.01', '"within": -Infinity').encode(),
                whole.replace('"within": 0.01', '"within": 1e999').encode(),
                whole.replace('"within": 0.01', f'"within": {"9" * 9000}').encode(),
                whole.replace('"within": 0.01', '"within": 0.01, "within": 0.01').encode(),
                b"[" * 9000,
                b'{"a":' * 9000,
                b'"' + b"x" * 9000,
                b"null",
                b"[]",
            ]
        )
        return self.put(body), {400}

    def name_trick(self) -> tuple[bytes, set[int]]:
        method = self.rng.choice(["GET", "PUT", "DELETE"])
        trick = self.rng.choice([*TRICKS, "short", "x" * 65, "with space".replace(" ", "%20")])
        body = json.dumps(self.job).encode() if method == "PUT" else b""
        return self.http(method, f"jobs/{trick}", body), {400, 404}

    def wrong_method(self) -> tuple[bytes, set[int]]:
        method = self.rng.choice(["POST", "OPTIONS", "TRACE", "CONNECT", "BREW", "x" * 900])
        path = self.rng.choice(["device", f"files/{self.digest}", f"jobs/{self.name()}"])
        return self.http(method, path), {405}

    def unknown_path(self) -> tuple[bytes, set[int]]:
        path = self.rng.choice(
            ["", "docs", "openapi.json", "device/", "files", "files/", "jobs", "../v1/device/x"]
        )
        return self.http("GET", path), {404}

    def wait(self) -> tuple[bytes, set[int]]:
        wait = self.rng.choice(["-1", "nan", "inf", "1e9", "x", "9" * 999, "", "%00"])
        return self.http("GET", f"jobs/{self.name()}?wait_s={wait}"), {400, 404}

    def big_head(self) -> tuple[bytes, set[int]]:
        what = self.rng.choice([{"X_Long": "x" * 40_000}, {f"X{i}": "y" * 50 for i in range(900)}])
        # One that comes in a single read is never buffered incomplete, and is read.
        return self.http("GET", "nothing", **what), {0, 400, 404}

    def big_body(self) -> tuple[bytes, set[int]]:
        return self.put(json.dumps(self.job).encode() + b" " * 1_100_000), {0, 413}

    def malformed(self) -> tuple[bytes, set[int]]:
        whole = self.http("PUT", f"jobs/{self.name()}", b"{}")
        content = self.rng.choice(
            [
                self.rng.randbytes(self.rng.randrange(1, 500)),
                b"\r\n\r\n\r\n",
                b"GET\r\n\r\n",
                b"GET /v1/device HTTP/9.9\r\n\r\n",
                b"GET /v1/device HTTP/1.1\r\n\r\n",  # no host
                b"GET /v1/device HTTP/1.1\nHost: x\nA\n\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + self.rng.randbytes(200),  # TLS
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                whole.replace(b"Content-Length: 2", b"Content-Length: -2"),
                whole.replace(b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 9"),
                whole.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked") + b"zz\r\n",
                whole.replace(b"Content-Length: 2", b"Transfer-Encoding: gzip, gzip"),
                whole.replace(b"Host: device", b"Ho st: \x00"),
                whole[: self.rng.randrange(1, len(whole) - 1)],
            ]
        )
        return content, {0, 400, 401}
