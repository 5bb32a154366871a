"""Addresses on the network: HOST:PORT of processes, and URLs without their passwords."""

import re
from collections.abc import Sequence

from facemask.errors import FacemaskError


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, of [HOST]:PORT for IPv6.

    Raises FacemaskError for anything else.
    """
    host, colon, port = text.rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if in_brackets else host
    valid_name = name and not any(char.isspace() or char in "[]/" for char in name)
    valid_port = port.isascii() and port.isdecimal() and 0 < int(port) < 65536
    if not (colon and valid_name and valid_port and in_brackets == (":" in name)):
        raise FacemaskError(f"{text}: expected HOST:PORT, with a port from 1 to 65535")
    return name, int(port)


def check_addresses(addresses: Sequence[str], index: int) -> None:
    """Raise FacemaskError unless each address is HOST:PORT, none is repeated, and index is of one.

    index: of this process among them, from 0.
    """
    for address in addresses:
        parse_address(address)
    if repeated := [address for address in addresses if addresses.count(address) > 1]:
        raise FacemaskError(f"{repeated[0]}: expected an address for each worker, found it twice")
    if not 0 <= index < len(addresses):
        raise FacemaskError(
            f"worker {index}: expected a number from 0 to {len(addresses) - 1}, as there are"
            f" {len(addresses)} addresses"
        )


def without_secrets(url: str) -> str:
    """A URL for logs: without user and password, and without what follows a question mark.

    A password may have unescaped characters, so it ends at the last @. Of a URL that has one only
    behind a question mark, where the password stands is unclear, and the protocol alone remains.
    """
    parts = re.fullmatch(r"(.*?://)(?:[^?]*@)?([^?]*)(?:\?[^@]*)?", url)
    return "".join(parts.groups()) if parts else f"{url.partition('://')[0]}://..."
