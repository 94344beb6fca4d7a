"""Connections to Spotify, of which every read and write ends by a deadline."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore

from addresses import is_local

RESOLVERS = 8  # names that are looked up at once
CONNECT_SECONDS = 2.0  # for one address, before the next one of the host is tried


class Call(threading.local):
    """The call that this thread is making: when it has to be over."""

    shared_deadline: float | None = None  # of all calls of a visit, if it is in one
    deadline = 0.0
    connected = False  # whether it opened a connection of its own
    answered = False  # whether the head of the answer has come

    def left(self, out_of_time: type[Exception]) -> float:
        """Return the seconds left. Raises out_of_time when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise out_of_time()
        return left


def open_pool(base: str, most_idle: int | None, call: Call) -> httpcore.ConnectionPool:
    """Return connections to the host of this base URL, at most so many idle ones."""
    return httpcore.ConnectionPool(
        ssl_context=_ssl_context(),
        proxy=_proxy(base),
        max_connections=None,  # the lanes' seats are the bound
        max_keepalive_connections=most_idle,
        keepalive_expiry=30,
        network_backend=_Backend(call),
    )


class _Backend(httpcore.SyncBackend):
    """Opens connections whose every read and write ends by the call's deadline.

    httpcore's own timeouts start anew at each read, so that an answer of one byte a
    second never runs into them.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._resolver = ThreadPoolExecutor(RESOLVERS)

    def connect_tcp(
        self, host: str, port: int, *args: Any, **kwargs: Any
    ) -> httpcore.NetworkStream:
        self._call.connected = True
        failure: Exception = httpcore.ConnectError()
        # On a thread of its own, because the system's resolver knows no deadline.
        left = self._call.left(httpcore.ConnectTimeout)
        look_up = self._resolver.submit(
            socket.getaddrinfo, host, port, type=socket.SOCK_STREAM
        )
        try:
            addresses = look_up.result(left)
        except NotInTime:
            raise httpcore.ConnectTimeout() from None
        for address in addresses:
            left = self._call.left(httpcore.ConnectTimeout)
            try:
                stream = super().connect_tcp(
                    str(address[4][0]), port, min(left, CONNECT_SECONDS)
                )
                return _Stream(stream, self._call)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, call: Call) -> None:
        self._stream = stream
        self._call = call

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._call.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._call.left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = self._call.left(httpcore.ConnectTimeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return _Stream(stream, self._call)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@cache
def _ssl_context() -> ssl.SSLContext:
    return httpcore.default_ssl_context()  # brings its own list of authorities


def _proxy(base: str) -> httpcore.Proxy | None:
    """Return the proxy that the environment names for this base, if any."""
    uri = urlsplit(base)
    address = getproxies().get(uri.scheme)
    if not address or is_local(uri) or proxy_bypass(uri.hostname or ""):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    auth = (proxy.username or "", proxy.password or "") if proxy.username else None
    return httpcore.Proxy(f"{proxy.scheme}://{proxy.hostname}:{proxy.port}", auth=auth)
