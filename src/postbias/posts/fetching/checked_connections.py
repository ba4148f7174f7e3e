"""Connect to public addresses only.

A name is resolved once per connection; all of its addresses are checked, and the connection goes to
a checked address. A name server cannot answer with another address between check and connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpcore2

from postbias.posts.fetching.fetch_failures import FetchError
from postbias.posts.reasons import RejectReason

# IPv6 networks whose last 32 bits are an IPv4 address: translated (RFC 2765) and NAT64 (RFC 6052).
_TRANSLATED = (IPv6Network("::ffff:0:0:0/96"), IPv6Network("64:ff9b::/96"))
# IPv6 unicast addresses in use; the other ones are reserved or local.
_IPV6_UNICAST = IPv6Network("2000::/3")
# Reserved by IANA, but public for Python 3.11.
_RESERVED = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("3fff::/20"),
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is a public unicast address.

    Args:
        address: The address. An IPv6 address that contains an IPv4 address is public only if both
            are.

    Returns:
        False for private, loopback, link-local, shared, multicast, reserved and unspecified ones.
    """
    return all(_is_global_unicast(each) for each in (address, *_embedded(address)))


def _is_global_unicast(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped or _is_translated(address):
            # Reserved as such; the IPv4 address in it decides.
            return True
        if address not in _IPV6_UNICAST:
            return False
    is_special = address.is_multicast or address.is_reserved or address.is_link_local
    is_reserved = any(address in network for network in _RESERVED)
    return address.is_global and not is_special and not is_reserved


def _is_translated(address: IPv6Address) -> bool:
    return any(address in network for network in _TRANSLATED)


def _embedded(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that an IPv6 address leads to."""
    if not isinstance(address, IPv6Address):
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if _is_translated(address):
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def check_addresses(host: str, addresses: Iterable[str], *, allows_private: bool) -> list[str]:
    """Check all addresses of a host.

    Args:
        host: Its name, for the error message.
        addresses: The addresses that it resolves to.
        allows_private: Whether any unicast address is allowed.

    Returns:
        The addresses, without duplicates.

    Raises:
        FetchError: If one of them is not allowed.
    """
    checked = list(dict.fromkeys(addresses))
    for text in checked:
        # Windows and macOS append the interface to link-local addresses.
        address = ip_address(text.partition("%")[0])
        is_unicast = not address.is_multicast and not address.is_unspecified
        if not (is_unicast if allows_private else is_public(address)):
            where = text if text == host else f"{host[:100]} ({text})"
            raise FetchError(
                RejectReason.BLOCKED_ADDRESS,
                f"{where} is no public address"
                + ("" if allows_private else "; --allow-private permits private ones"),
            )
    return checked


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens the connections of a pool, to checked addresses only."""

    def __init__(self, *, allows_private: bool) -> None:
        """Remember whether private addresses are allowed."""
        self._backend = httpcore2.AnyIOBackend()
        self._allows_private = allows_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve a host, check its addresses and connect to one of them."""
        found = await _resolve(host, port, timeout)
        error: Exception | None = None
        for address in check_addresses(host, found, allows_private=self._allows_private):
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failure:
                error = failure
        raise error or httpcore2.ConnectError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)


async def _resolve(host: str, port: int, timeout_s: float | None) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            # Also reads the decimal, octal and hexadecimal forms of addresses.
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore2.ConnectTimeout(f"{host}: the name server does not answer") from error
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"{host}: unknown host") from error
    return [str(address[0]) for *_, address in found]
