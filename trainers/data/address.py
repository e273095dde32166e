"""Paths and addresses of data, as recipes and the command line give them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic_core import PydanticCustomError


def checked_address(path: str) -> str:
    """The same text. Raises a `ValueError` of type `address` if it carries credentials or more than one protocol.

    Nobody may repeat such an address: messages end in logs.
    """
    if "://" not in path:
        return path
    parts = urlsplit(path)
    if "@" in parts.netloc or parts.query or parts.fragment or "::" in path:
        raise PydanticCustomError(
            "address",
            "an address has one protocol, no user, password, query or fragment; credentials come from the environment",
        )
    return path


def local_path(path: str) -> Path | None:
    """The absolute path of a folder or file of this machine (`file://` too); None for any other address."""
    protocol, separator, _ = path.partition("://")
    if not separator:
        return Path(path).expanduser().absolute()
    return Path(unquote(urlsplit(path).path)) if protocol == "file" else None
