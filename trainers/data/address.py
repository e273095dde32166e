"""Paths and addresses of data, as recipes and the command line give them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit


def checked_address(path: str) -> str:
    """The same text. Raises `ValueError` for an address that carries credentials or more than one protocol."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("an address without user, password, query and fragment; credentials come from the environment")
    if "::" in path:
        raise ValueError("one protocol only, without ::")
    return path


def local_path(path: str) -> Path | None:
    """The absolute path of a folder or file of this machine (`file://` too); None for any other address."""
    protocol, separator, _ = path.partition("://")
    if not separator:
        return Path(path).expanduser().absolute()
    return Path(unquote(urlsplit(path).path)) if protocol == "file" else None
