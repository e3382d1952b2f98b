"""Speakers and recordings by the dozen: what `search serve` is put under."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence

import httpx
import numpy as np
import websockets

CHUNK = 5120  # samples that a speaker sends at a time: 320 ms


async def speak(
    url: str, samples: np.ndarray, wait_s: float, until: float, delays_s: list[float]
) -> None:
    """One speaker, utterance after utterance at real speed; the time from each message to the
    answer that it was heard."""
    pcm = (samples * 32767).astype("<i2")
    await asyncio.sleep(wait_s)
    while time.monotonic() < until:
        async with websockets.connect(url, open_timeout=30, max_queue=256) as connection:
            start = time.monotonic()
            for i, begin in enumerate(range(0, len(pcm) - CHUNK, CHUNK), 1):
                await asyncio.sleep(max(0.0, start + i * CHUNK / 16_000 - time.monotonic()))
                sent = time.monotonic()
                await connection.send(pcm[begin : begin + CHUNK].tobytes())
                if i > 1:  # after the first its look ahead is not there yet
                    await asyncio.wait_for(connection.recv(), 30)
                    delays_s.append(time.monotonic() - sent)
            await connection.send('{"type": "end"}')
            async for message in connection:
                if json.loads(message)["type"] == "final":
                    break


async def speakers(url: str, audio: Sequence[np.ndarray], n: int, seconds: float) -> list[float]:
    """Delays in seconds of `n` speakers at once."""
    delays_s: list[float] = []
    until = time.monotonic() + seconds
    rng = np.random.default_rng(0)
    waits = rng.uniform(0, 0.32, n)
    tasks = [
        speak(url, audio[i % len(audio)], float(wait), until, delays_s)
        for i, wait in enumerate(waits)
    ]
    with contextlib.suppress(TimeoutError):
        await asyncio.gather(*tasks)
    return delays_s


async def recordings(
    url: str, files: Sequence[bytes], per_s: float, seconds: float, model: str
) -> list[tuple[float, int]]:
    """Seconds to the answer and status of recordings that come at random times."""
    found: list[tuple[float, int]] = []
    rng = np.random.default_rng(0)

    async def ask(client: httpx.AsyncClient, which: int) -> None:
        start = time.monotonic()
        answer = await client.post(
            f"{url}/v1/audio/transcriptions",
            files={"file": ("a.wav", files[which % len(files)])},
            data={"model": model},
        )
        found.append((time.monotonic() - start, answer.status_code))

    limits = httpx.Limits(max_connections=500)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        tasks, start, i = [], time.monotonic(), 0
        while time.monotonic() - start < seconds:
            tasks.append(asyncio.create_task(ask(client, i)))
            i += 1
            await asyncio.sleep(float(rng.exponential(1 / per_s)))
        await asyncio.gather(*tasks)
    return found
