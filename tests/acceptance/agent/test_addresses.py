"""A client asks only an agent, at an address and with a token that can be right."""

from __future__ import annotations

import threading

import pytest
from agents import TOKEN

from workers.errors import DeviceRefused
from workers.targets.agent import Agent


@pytest.mark.parametrize("url", ["localhost:1", "ftp://x", "http://", "http://u:p@x", "http://x/a"])
def test_a_url_that_cannot_be_right_is_refused(url: str) -> None:
    with pytest.raises(DeviceRefused, match="has to be http"):
        Agent(url, TOKEN)


@pytest.mark.parametrize("token", ["", "two words", "line\n", "ümlaut"])
def test_a_token_that_cannot_be_right_is_refused_without_saying_it(token: str) -> None:
    with pytest.raises(DeviceRefused) as caught:
        Agent("http://localhost:1", token)
    assert not token or token not in str(caught.value)


def test_what_is_no_agent_is_refused() -> None:
    answers = iter(
        [b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n", b"HTTP/1.1 200 OK\r\n"]
    )
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for head in answers:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(10_000)
                    connection.sendall(head + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        agent = Agent(f"http://127.0.0.1:{listening.getsockname()[1]}", TOKEN)
        for said in ("is not an agent", "another version"):
            with pytest.raises(DeviceRefused, match=said):
                agent.device()
        thread.join()
