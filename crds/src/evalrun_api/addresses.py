"""Hosts and ports in URLs, and which hosts lead back into a pod or its node, in whatever form they are written.

A URL is opened by pods of a run, so ``http://127.0.0.1`` is the pod itself, and ``http://169.254.169.254`` is a cloud's
metadata service, which hands out the identity of the node. Both have many spellings: decimal, octal and hexadecimal
numbers, fewer than four of them, IPv4 within IPv6, and names of public DNS services that stand for the address in them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle Cloud
            "fd00:ec2::254",  # AWS
            "fd20:ce::254",  # Google Cloud
        ),
    )
)
"""Metadata services that are not link-local."""
_NAMES = frozenset(
    {
        "localhost.localdomain",
        "localhost4",
        "localhost6",
        "ip6-localhost",
        "ip6-loopback",
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
    }
)
"""Names of loopback in usual hosts files, and of metadata services."""
_LOOPBACK_DOMAINS = ("localhost", "localtest.me", "lvh.me", "vcap.me", "lacolhost.com", "yoogle.com")
"""Domains of which every name is loopback."""
_WILDCARD_DOMAINS = ("nip.io", "sslip.io", "xip.io", "traefik.me", "backname.io", "ip.addr.tools")
"""Domains of which a name resolves to the address that is written in it, in hexadecimal digits as well."""

_QUAD = re.compile(r"(?<![0-9])([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})(?![0-9])")
_HEX_QUAD = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(?![0-9a-f])")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_NAT64 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/96")))


def join_host_port(host: str, port: int) -> str:
    """Join a host and a port as in a URL, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def has_userinfo(url: str) -> bool:
    """Tell whether a URL has a user or a password in it."""
    return "@" in re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0]


def leads_inside(url: str) -> bool:
    """Tell whether the host of a URL is, or may be read as, loopback, link-local or a metadata service.

    A name is not resolved: what it stands for may change, which is what network policies are for.
    """
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return True  # no address at all, as in http://[::1
    host = host.rstrip(".").lower()
    if ":" in host:
        return any(map(_is_inside, _ipv6(host)))
    if not host or host in _NAMES or any(_is_below(host, domain) for domain in _LOOPBACK_DOMAINS):
        return True
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # A resolver reads it as an IPv4 address, whatever it has before the last dot; in its short forms a bucket in
        # front of it makes another address.
        return _QUAD.fullmatch(host) is None or any(map(_is_inside, _quads(host)))
    return any(map(_is_inside, _named(host)))


def _is_inside(address: Address | None) -> bool:
    """Tell whether an address is one of the pod or its node; None is one that cannot be read."""
    return address is None or any(
        (
            address.is_loopback,
            address.is_link_local,
            address.is_unspecified,
            address in _METADATA,
            address.version == 4 and address.packed[0] == 0,
        )
    )


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _named(host: str) -> Iterator[Address | None]:
    """Yield the addresses that are written in a name."""
    yield from _quads(host)
    if any(_is_below(host, domain) for domain in _WILDCARD_DOMAINS):
        for digits in _HEX_QUAD.findall(host):
            yield ipaddress.IPv4Address(int(digits, 16))
        for label in host.split("."):
            if label.count("-") >= 2:
                yield from (found for found in _ipv6(label.replace("-", ":")) if found is not None)


def _quads(host: str) -> Iterator[Address | None]:
    """Yield every IPv4 address of four numbers, which a leading 0 makes octal for some readers."""
    for match in _QUAD.finditer(host):
        numbers = match.groups()
        for base in (10, 8) if any(number.startswith("0") for number in numbers) else (10,):
            try:
                yield ipaddress.IPv4Address(bytes(int(number, base if number[0] == "0" else 10) for number in numbers))
            except ValueError:
                continue  # a part of a name that only looks like one, as in v300.1.2.3


def _ipv6(text: str) -> Iterator[Address | None]:
    """Yield an IPv6 address and the IPv4 addresses within it; None for what is none."""
    try:
        address = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        yield None
        return
    yield address
    last = ipaddress.IPv4Address(address.packed[12:])
    if address.ipv4_mapped or any(address in network for network in _NAT64) or address.packed[:12] == bytes(12):
        yield last
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
