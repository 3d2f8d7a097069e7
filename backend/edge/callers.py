"""Who sent a request, as far as the network says: its address behind a stated number of trusted proxies. Pure.

A proxy adds the address that it was called from at the right end of `X-Forwarded-For` (or a `for=` element of
`Forwarded`, RFC 7239). Whatever stands further left was written by somebody whom we don't know, so the list is read
from the right, and only as far as there are proxies of ours. One header is read, the one that the settings name: who
could choose between two would choose the one that the proxy does not set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from backend.settings import Settings

UNKNOWN: Final = "unknown"
"""Whose address cannot be told (a unix socket, a proxy that hides it): all of them are one caller."""
IPV6_PREFIX: Final = 64
"""The smallest network that one subscriber gets: each of its 2^64 addresses would be a new caller otherwise."""

_ELEMENT: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*("(?:[^"\\]|\\.)*"|[^;"\s]*)', re.IGNORECASE)


def forwarded_for(header: str, values: Sequence[str]) -> list[str]:
    """The addresses that a forwarding header lists, left to right; `header` is its name in small letters."""
    text = ",".join(values)
    if header == "x-forwarded-for":
        return [part.strip() for part in text.split(",") if part.strip()]
    elements = [element for element in _ELEMENT.findall(text) if element.strip()]
    found = [_FOR.search(element.strip()) for element in elements]
    return [match.group(1).strip('"') if match else UNKNOWN for match in found]


def caller_address(peer: str | None, forwarded: Sequence[str], trusted_proxies: int) -> str:
    """The caller as a key: an IPv4 address, an IPv6 network of 64 bits, or `unknown`.

    `peer` is who holds the connection. With n trusted proxies the caller is n places left of the peer; with a shorter
    list it is the leftmost, which then one of our proxies wrote.
    """
    path = [*forwarded, peer or UNKNOWN]
    return network(path[-1 - min(trusted_proxies, len(path) - 1)])


def address_of(scope: Scope, settings: Settings) -> str:
    """The caller of a request, as a key."""
    client, listed = scope.get("client"), []
    if settings.trusted_proxies:
        listed = forwarded_for(settings.forwarded_header, Headers(scope=scope).getlist(settings.forwarded_header))
    return caller_address(client[0] if client else None, listed, settings.trusted_proxies)


@lru_cache(maxsize=4096)
def network(text: str) -> str:
    """The network of an address as proxies write it: with a port, in brackets, IPv4 within IPv6; or `unknown`."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            upper = int(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)
            return f"{IPv6Address(upper)}/{IPV6_PREFIX}"
        return str(address.ipv4_mapped)
    return str(address)
