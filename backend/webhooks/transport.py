"""One POST to a stranger's address, without letting the address reach into our own network.

The name is resolved here and each address judged before a connection to that very address is made, so that a name that
resolves differently the second time gains nothing (DNS rebinding). Redirects are answers like any other, proxies of the
environment are not used, and the answer's body is not read. The whole exchange has one deadline, whatever the pace.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpcore

TIMEOUT_S = 10.0
NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Unsent(Exception):
    """There was no answer; `code` says why: `dns`, `address`, `connect`, `tls`, `timeout` or `protocol`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RefusedUrl(ValueError):
    """Nothing is sent to such an address; the text says why."""


def check_url(url: str, *, loopback: bool) -> None:
    """Raises RefusedUrl for what no delivery would be made to. `loopback` lets this machine in, for development."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise RefusedUrl("this is no address that can be read") from error
    if not url.isascii() or any(c <= " " or c in "\\\x7f" for c in url):
        raise RefusedUrl("an address is ASCII without spaces; write other letters %-encoded, a name in punycode")
    if not host or "%" in host:
        raise RefusedUrl("an address names a host, as in https://receiver.example/path")
    if parts.username is not None or parts.password is not None:
        raise RefusedUrl("an address has no user name and password; the signature says who sends")
    if "#" in url:
        raise RefusedUrl("an address has no fragment (#...): it would not be sent")
    if port == 0:
        raise RefusedUrl("port 0 is none")
    literal = _literal(host)
    local = loopback and (host == "localhost" or (literal is not None and literal.is_loopback))
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise RefusedUrl("an address begins with https://")
    if literal is not None and not local and not is_public(literal):
        raise RefusedUrl(f"{host} is no public address")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether an address is on the internet, also where it wraps an IPv4 address (mapped, NAT64, 6to4, Teredo)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner: Iterable[Address | None] = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
        if address in NAT64:
            inner = (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
        wrapped = [each for each in inner if each is not None]
        if wrapped:
            return all(is_public(each) for each in wrapped)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass
class _Deadline:
    at: float

    def left(self, asked: float | None) -> float:
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if asked is None else min(asked, left)


class _Stream(httpcore.NetworkStream):
    """A connection whose every step ends with the exchange's deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(
            self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout)), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Guard(httpcore.NetworkBackend):
    """Connects to public addresses only; a name with any other address is refused whole."""

    def __init__(self, deadline: _Deadline, *, loopback_only: bool, loopback: bool, resolve: Resolve) -> None:
        self._inner = httpcore.SyncBackend()
        self._deadline = deadline
        self._loopback, self._loopback_only, self._resolve = loopback, loopback_only, resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Unsent("dns") from error
        if not found:
            raise Unsent("dns")
        if not all(self._allowed(address) for address in found):
            raise Unsent("address")
        failure: Exception | None = None
        for address in found:
            try:
                inner = self._inner.connect_tcp(address, port, self._deadline.left(timeout))
                return _Stream(inner, self._deadline)
            except httpcore.ConnectError as error:
                failure = error
        raise Unsent("connect") from failure

    def _allowed(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        if self._loopback and address.is_loopback:
            return True
        return not self._loopback_only and is_public(address)

    def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> Any:
        raise Unsent("address")


@cache
def _trusted() -> ssl.SSLContext:
    """The system's authorities; reading them takes longer than a request."""
    return ssl.create_default_context()


@dataclass(frozen=True)
class Transport:
    """How deliveries leave. `loopback` lets them go to this machine, over http too: for development and tests."""

    loopback: bool = False
    timeout_s: float = TIMEOUT_S
    resolve: Resolve = resolve
    tls: ssl.SSLContext | None = None

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send; the status that was answered. Raises Unsent."""
        try:
            check_url(url, loopback=self.loopback)
        except RefusedUrl as error:
            raise Unsent("address") from error
        guard = _Guard(
            _Deadline(time.monotonic() + self.timeout_s),
            loopback=self.loopback,
            loopback_only=url.startswith("http:"),
            resolve=self.resolve,
        )
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self.timeout_s)
        context = self.tls or _trusted()
        try:
            with (
                httpcore.ConnectionPool(ssl_context=context, network_backend=guard, retries=0) as pool,
                pool.stream(
                    "POST",
                    url,
                    headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                    content=body,
                    extensions={"timeout": timeouts},
                ) as answer,
            ):
                return answer.status
        except httpcore.TimeoutException as error:
            raise Unsent("timeout") from error
        except httpcore.ConnectError as error:  # of TCP it is Unsent already
            raise Unsent("tls") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise Unsent("protocol") from error
