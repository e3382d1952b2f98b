"""The other end of a device agent: a `Runner` that measures on a device."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import re
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from workers.agent.messages import VERSION, JobCandidate, JobMessage, MessageFault, parse_job
from workers.errors import DeviceRefused, DeviceUnreachable, WorkError
from workers.foreign_text import cleaned_record, one_line
from workers.probe.request import LatencyRequest, ProcessSample, process_samples_of
from workers.targets.answer import PLAIN, Answer, Packed, TooLong, read_whole

_PART_BYTES = 4 << 20
_WAIT_S = 20  # of one poll
_TIMEOUT_S = (5.0, 30.0)  # to connect, and for the next bytes of an answer
_TRIES = 3  # to send what the device lacks
_STALLS = 30  # polls of an upload that gets nowhere
_STALL_S = 1.0
_TOKEN = re.compile(r"[!-~]{1,1000}", re.ASCII)
_RETRY = Retry(
    total=3,
    backoff_factor=0.2,
    allowed_methods=frozenset({"GET", "HEAD", "PUT", "DELETE"}),
    status_forcelist=(502, 503, 504),
    raise_on_status=False,
    respect_retry_after_header=False,
)


class Agent:
    """An agent at `http(s)://host:port`.

    Args:
        ca_file: a certificate authority (PEM) to trust in place of the system's.

    Raises:
        DeviceRefused: for a URL, token or file that cannot be right.
    """

    def __init__(self, url: str, token: str, ca_file: Path | None = None) -> None:
        self.url = url.rstrip("/")
        host = _host_of(self.url)
        if not _TOKEN.fullmatch(token):
            raise DeviceRefused(f"{self.url}: the token has to be visible ASCII on one line")
        if ca_file is not None and not ca_file.is_file():
            raise DeviceRefused(f"{self.url}: no certificate at {ca_file}")
        self._verify: bool | str = True if ca_file is None else str(ca_file)
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = PLAIN
        self._session.auth = _Bearer(token)  # not a header: ~/.netrc would replace that
        self._session.trust_env = not _is_loopback(host)  # a proxy has no way to this machine
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=_RETRY))

    def __repr__(self) -> str:
        return f"Agent({self.url!r})"

    def device(self) -> dict[str, object]:
        """What the device is: `machine` (a MachineReport), `backends`, `limits` and its queue.

        Raises:
            DeviceUnreachable, DeviceRefused: as `run` does.
        """
        answer = self._json(self._ask("GET", "device"))
        if answer.get("version") != VERSION:
            raise DeviceRefused(
                f"{self.url}: is an agent of another version; start it anew from this one"
            )
        try:
            return cleaned_record({**answer, "machine": cleaned_record(answer.get("machine"))})
        except ValueError as error:
            raise self._no_agent() from error

    def run(self, request: LatencyRequest) -> list[ProcessSample]:
        """Perform one restart on the device; files that it has already are not sent again.

        Raises:
            DeviceUnreachable: when it cannot be reached or does not know the job any more.
            DeviceRefused: when it does not admit us or cannot do this; the text says what to do.
            WorkError: when the measurement itself failed.
        """
        message, files = _message_of(request, self.url)
        name = secrets.token_hex(16)
        try:
            self._begin(name, message, files)
            return self._result(name, len(message.candidates))
        finally:
            self._forget(name)

    __call__ = run

    def _begin(self, name: str, message: JobMessage, files: Mapping[str, Path]) -> None:
        for _ in range(_TRIES):
            for digest, path in files.items():
                self._send(digest, path)
            response = self._ask("PUT", f"jobs/{name}", message.to_json().encode(), accept=(422,))
            if response.status != 422:
                return
            if not self._json(response).get("missing"):  # it dropped some for the others
                raise DeviceRefused(f"{self.url}: {_error_of(response)}")
        raise DeviceRefused(
            f"{self.url}: its cache does not hold the {len(files)} files of one measurement; "
            "start the agent with a larger --cache-mb"
        )

    def _result(self, name: str, n_candidates: int) -> list[ProcessSample]:
        while True:
            response = self._ask("GET", f"jobs/{name}?wait_s={_WAIT_S}", accept=(404,))
            if response.status == 404:
                raise DeviceUnreachable(f"{self.url}: has forgotten the job; it was started anew")
            answer = self._json(response)
            state = answer.get("state")
            if state == "failed":
                raise WorkError(f"{self.url}: {one_line(answer.get('error'))}")
            if state == "cancelled":
                raise DeviceUnreachable(f"{self.url}: the job was cancelled there")
            if state == "done":
                return self._restarts(answer.get("result"), n_candidates)
            if state not in ("queued", "running"):
                raise self._no_agent()

    def _restarts(self, result: Any, n_candidates: int) -> list[ProcessSample]:
        try:
            restarts = [_fit_to_show(sample) for sample in process_samples_of(result)]
        except (TypeError, ValueError) as error:
            raise self._no_agent() from error
        if len(restarts) != n_candidates:
            raise self._no_agent()
        return restarts

    def _forget(self, name: str) -> None:
        """Nobody waits for the job any more; if the device is away, so is the job."""
        with contextlib.suppress(requests.RequestException):
            self._session.delete(
                f"{self.url}/v1/jobs/{name}",
                timeout=2,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ).close()

    def _send(self, digest: str, path: Path) -> None:
        """Upload what the device lacks of a file, going on where it was cut."""
        length, last, stalls = path.stat().st_size, -1, 0
        problem = DeviceUnreachable(f"{self.url}: the upload of {path.name} does not get on")
        while stalls < _STALLS:
            response = self._ask("HEAD", f"files/{digest}", headers={"Upload-Length": str(length)})
            if response.status == 200:
                return
            offset = self._offset_of(response)
            stalls = stalls + 1 if offset <= last else 0
            if stalls:
                time.sleep(_STALL_S)
            last = offset
            try:
                self._send_from(offset, length, digest, path)
            except DeviceUnreachable as error:
                problem = error  # the next HEAD says how far it came, or that the device is away
        raise problem

    def _offset_of(self, response: Answer) -> int:
        told = response.headers.get("Upload-Offset", "0")
        if not (told.isascii() and told.isdigit() and len(told) < 19):
            raise self._no_agent()
        return int(told)

    def _send_from(self, offset: int, length: int, digest: str, path: Path) -> None:
        """Until the file is whole or the device wants another part of it."""
        with path.open("rb") as file:
            file.seek(offset)
            for start in range(offset, max(length, offset + 1), _PART_BYTES):
                headers = {"Upload-Offset": str(start), "Upload-Length": str(length)}
                part = file.read(_PART_BYTES)
                response = self._ask("PATCH", f"files/{digest}", part, headers, accept=(409, 422))
                if response.status != 204:
                    return

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Answer:
        try:
            with self._session.request(
                method,
                f"{self.url}/v1/{path}",
                data=body,
                headers=dict(headers or {}),
                timeout=_TIMEOUT_S,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ) as given:
                response = read_whole(given)
        except (requests.RequestException, HTTPError) as error:
            raise self._unreached(error) from error
        except Packed as error:
            raise self._no_agent() from error
        except TooLong as error:
            raise DeviceRefused(
                f"{self.url}: answers with more than any measurement holds; is an agent of this "
                "version there?"
            ) from error
        if response.status < 300 or response.status in accept:
            return response
        raise self._refusal(response)

    def _unreached(self, error: Exception) -> WorkError:
        reason = _reason(error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return DeviceRefused(
                f"{self.url}: its certificate is not to be trusted ({reason.verify_message}); "
                "give the certificate of its authority"
            )
        if isinstance(reason, ssl.SSLError) and reason.reason == "WRONG_VERSION_NUMBER":
            return DeviceRefused(f"{self.url}: does not speak TLS; is it http:// there?")
        return DeviceUnreachable(f"{self.url}: cannot be reached ({type(reason).__name__})")

    def _refusal(self, response: Answer) -> WorkError:
        status, text = response.status, _error_of(response)
        if status in (401, 403):
            return DeviceRefused(
                f"{self.url}: does not know this token; `search agent serve` tells on the device "
                "where its own is"
            )
        if status in (408, 429) or status >= 500:
            return DeviceUnreachable(f"{self.url}: {text}")
        if status == 413:
            return DeviceRefused(
                f"{self.url}: a file is too big for it; start the agent with a larger "
                "--max-file-mb and --cache-mb"
            )
        if status in (400, 409, 422):
            return DeviceRefused(f"{self.url}: {text}")
        return self._no_agent()

    def _json(self, response: Answer) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError as error:
            raise self._no_agent() from error
        if not isinstance(answer, dict):
            raise self._no_agent()
        return answer

    def _no_agent(self) -> DeviceRefused:
        return DeviceRefused(
            f"{self.url}: is not an agent of this version; start `search agent serve` there"
        )


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _message_of(request: LatencyRequest, url: str) -> tuple[JobMessage, dict[str, Path]]:
    """The job, and its files by digest."""
    files: dict[str, Path] = {}

    def digest_of(path: Path) -> str:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[digest] = path
        return digest

    message = JobMessage(
        candidates=tuple(
            JobCandidate(
                backend=c.backend,
                files={p.name: digest_of(p) for p in model_files(Path(c.model))},
                main=Path(c.model).name,
                tokens=digest_of(Path(c.tokens)),
                settings=c.settings,
                front_end=c.front_end,
                filter_bank=c.filter_bank,
            )
            for c in request.candidates
        ),
        audio=tuple(digest_of(Path(a)) for a in request.audio),
        audio_s=request.audio_s,
        threads=request.threads,
        min_runs=request.min_runs,
        max_s=request.max_s,
        within=request.within,
        details=request.details,
        gpu=request.gpu,
    )
    try:
        parse_job(message.to_json().encode())
    except MessageFault as error:
        raise DeviceRefused(f"{url}: no agent would take this: {error}") from error
    return message, files


def model_files(main: Path) -> list[Path]:
    """A model's main file and those beside it that differ in the suffix only."""
    return sorted(p for p in main.parent.iterdir() if p.stem == main.stem and p.is_file())


def _host_of(url: str) -> str:
    """Raises:
    DeviceRefused: for anything but http(s)://host[:port].
    """
    wrong = DeviceRefused("the url of a device has to be http://host:port or https://host:port")
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is not a port
    except ValueError:
        raise wrong from None
    more = parts.path or parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in ("http", "https") or not parts.hostname or more:
        raise wrong
    return parts.hostname


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: BaseException) -> BaseException:
    """The first cause: what the system or TLS text."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((a for a in seen.args if isinstance(a, BaseException)), None)
        if inner is None:
            inner = seen.__cause__
        if inner is None or inner is seen:
            return seen
        seen = inner


def _error_of(response: Answer) -> str:
    """The error that an agent gave, bounded."""
    try:
        told = response.json()
    except ValueError:
        told = None
    if not isinstance(told, dict) or "error" not in told:
        return f"answers with status {response.status}"
    return one_line(told["error"])


def _fit_to_show(sample: ProcessSample) -> ProcessSample:
    """What a device says beside its times is shown to the user.

    Raises:
        ValueError: when it is not what a measurement says.
    """
    profile = sample.profile
    return replace(
        sample,
        machine=cleaned_record(sample.machine),
        unsteady=[one_line(reason) for reason in sample.unsteady],
        profile=None if profile is None else [cleaned_record(row) for row in profile],
    )
