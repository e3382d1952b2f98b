"""Holds a study alone: by a lock among processes of a home, by a lease among homes and hosts."""

from __future__ import annotations

import os
import platform
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from search.clock import Clock
from search.errors import UsageFault
from search.home import Home
from spaces.record import JsonObject
from storage.database import shown_url, sqlite_file
from storage.errors import LeaseLost, StorageError
from storage.records import Lease
from storage.store import Store


@dataclass(frozen=True)
class Heartbeat:
    """How often a holder shows that it lives, and for how long its silence is taken for life, in
    seconds."""

    every_s: float = 2.0
    silent_s: float = 30.0
    look_every_s: float = 0.5


@contextmanager
def only_coordinator(home: Home, name: str) -> Iterator[None]:
    """Keep other processes of this home from a study.

    Raises:
        UsageFault: when another process runs it.
    """
    path = home.study_lock(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=5)
    except Timeout as error:
        raise UsageFault(
            f'study "{name}" is being run by another process; watch it with `search status '
            f"{name}`, end it with `search stop {name}`"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def holding(
    store: Store, home: Home, name: str, clock: Clock, heartbeat: Heartbeat
) -> Iterator[None]:
    """Hold a study against other homes on the same store; call it within `only_coordinator`.

    Raises:
        UsageFault: when another holds it and lives; says who.
    """
    me: JsonObject = {
        "home": home_id(home),
        "folder": str(home.folder),
        "host": platform.node(),
        "process": os.getpid(),
    }
    seen = store.leases.find(name)
    # A holder of this home is gone for certain: we have the lock that it would have.
    if seen is not None and seen.holder is not None and seen.holder.get("home") != me["home"]:
        _wait_for_silence(store, seen, clock, heartbeat)
    _remember_store(home)
    try:
        lease = store.leases.take(name, me, seen)
    except LeaseLost as error:
        raise UsageFault(f'study "{name}" was begun elsewhere in this very moment') from error
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(store, lease, ended, heartbeat), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        store.leases.release(lease)


def _wait_for_silence(store: Store, seen: Lease, clock: Clock, heartbeat: Heartbeat) -> None:
    assert seen.holder is not None
    deadline_s = clock.monotonic() + heartbeat.silent_s
    while clock.monotonic() < deadline_s:
        clock.sleep(heartbeat.look_every_s)
        now = store.leases.find(seen.name)
        if now is None or now.holder is None:
            return
        if (now.token, now.beat) != (seen.token, seen.beat):
            who = now.holder
            raise UsageFault(
                f'study "{seen.name}" of this store is being run by process {who.get("process")} '
                f"on {who.get('host')} with the home {who.get('folder')}; watch it with "
                f"`search status {seen.name}`, end it with `search stop {seen.name}`"
            )


def _beat(store: Store, lease: Lease, ended: threading.Event, heartbeat: Heartbeat) -> None:
    while not ended.wait(heartbeat.every_s):
        try:
            store.leases.beat(lease)
        except LeaseLost:
            return  # our next write says so
        except StorageError:
            continue  # away for a while: so it is for whoever wants the study


def _remember_store(home: Home) -> None:
    """That the files of this home are of studies of that store: see `search gc`."""
    path, shown = home.folder / "locks" / "stores", shown_url(home.store_url)
    if sqlite_file(home.store_url) == home.folder / "store.sqlite":
        return  # its own, which goes with it wherever it is moved
    known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if shown not in known:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{shown}\n")


def home_id(home: Home) -> str:
    """A name for a home that no other has, wherever it is mounted."""
    path = home.folder / "locks" / "home-id"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(uuid.uuid4().hex)
    except FileExistsError:
        pass
    return path.read_text(encoding="ascii")
