"""The agent's door: a listening socket that nobody can fill, whoever has the token gets in.

Until a connection has shown the token it is a stranger, of which there is room for so many: in all,
from one address, and for so many seconds. Where there is no room, the stranger that has waited
longest goes, from the address that has the most; so who floods the door mostly shuts out himself.
It holds for connections that never begin TLS too, which no server above the socket hears of.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections import Counter, OrderedDict
from dataclasses import dataclass

STRANGER_S = 10.0  # for the handshake of TLS and the head of a request with the token, together
MOST_STRANGERS = 256
MOST_STRANGERS_OF_ONE = 128  # address
MOST_GUESTS = 128  # connections that have shown the token
_MOST_AT_ONCE = 16  # are let in before those that are in are listened to
_V6_SITE_BITS = 64  # one site has so many addresses that they count as one

Client = tuple[str, int]


@dataclass(eq=False)
class _Caller:
    """An open connection, from one address or site."""

    socket: socket.socket
    site: str
    n_running: int = 0  # requests with the token that are not answered

    @property
    def is_gone(self) -> bool:
        return self.socket.fileno() < 0

    def cut(self) -> None:
        """The server above sees its end and lets go of it."""
        with contextlib.suppress(OSError):  # gone already
            self.socket.shutdown(socket.SHUT_RDWR)


class Door(socket.socket):
    """A listening socket for a server on an event loop; it takes another's place."""

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(fileno=listening.detach())
        # By address and port, those that have waited longest first.
        self._strangers: OrderedDict[Client, _Caller] = OrderedDict()
        self._guests: OrderedDict[Client, _Caller] = OrderedDict()
        self._n_at_once = 0

    def accept(self) -> tuple[socket.socket, object]:
        """The next connection, on the event loop.

        Raises:
            BlockingIOError: when there is none, or others' turn has come.
        """
        self._n_at_once += 1
        if self._n_at_once > _MOST_AT_ONCE:
            self._n_at_once = 0
            raise BlockingIOError
        try:
            connection, address = super().accept()
        except OSError:
            self._n_at_once = 0
            raise
        self._let_in(connection, (str(address[0]), int(address[1])))
        return connection, address

    def enter(self, client: Client | None) -> None:
        """A request with the token begins."""
        caller = self._strangers.pop(client, None) if client else None
        caller = caller or (self._guests.pop(client, None) if client else None)
        if client is None or caller is None:  # it was cut while it was being read
            return
        caller.n_running += 1
        self._guests[client] = caller
        if len(self._guests) > MOST_GUESTS:
            self._forget_gone()
        idle = [c for c in self._guests.values() if not c.n_running]
        for guest in idle[: max(0, len(self._guests) - MOST_GUESTS)]:
            guest.cut()

    def leave(self, client: Client | None) -> None:
        """It is answered."""
        guest = self._guests.get(client) if client else None
        if guest is not None:
            guest.n_running -= 1

    def _let_in(self, connection: socket.socket, client: Client) -> None:
        self._forget_gone()
        caller = _Caller(connection, _site(client[0]))
        n_of = Counter(c.site for c in self._strangers.values())
        if n_of[caller.site] >= MOST_STRANGERS_OF_ONE:
            self._cut_oldest(caller.site)
        elif len(self._strangers) >= MOST_STRANGERS:
            self._cut_oldest(n_of.most_common(1)[0][0])
        self._strangers[client] = caller
        asyncio.get_running_loop().call_later(STRANGER_S, self._time_is_up, client, caller)

    def _cut_oldest(self, site: str) -> None:
        client = next(client for client, c in self._strangers.items() if c.site == site)
        self._strangers.pop(client).cut()

    def _time_is_up(self, client: Client, caller: _Caller) -> None:
        if self._strangers.get(client) is caller:
            self._strangers.pop(client).cut()

    def _forget_gone(self) -> None:
        for callers in (self._strangers, self._guests):
            for client in [client for client, c in callers.items() if c.is_gone]:
                del callers[client]


def _site(address: str) -> str:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, _V6_SITE_BITS), strict=False))
    return str(ip)
