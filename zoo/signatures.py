"""Signatures: who vouches for a learngene's digest, kept beside the manifest; and the policy that asks for one.

Signed are the bytes `context + digest` with ed25519, so a signature holds for one content, under whatever name, and as
what it was signed: a learngene (its digest) or a ready model (its description, which holds its lineage too). A key
is known by its fingerprint, the SHA-256 of its public half. `ZOO_TRUSTED_KEYS` names the public keys (a file, or a
folder of `*.pem` and `*.pub`); where it is set, learngenes that none of them signed are refused.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from zoo.errors import BadInputError, IntegrityError
from zoo.files import SIGNATURE, home, write_json
from zoo.untrusted import read_plain, strict_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    Keys = dict[str, Ed25519PublicKey]

LEARNGENE, READY_MODEL = b"learngene-zoo learngene ", b"learngene-zoo ready model "
TRUSTED, SIGNING, PASSWORD = "ZOO_TRUSTED_KEYS", "ZOO_SIGNING_KEY", "ZOO_SIGNING_KEY_PASSWORD"
SIGNATURE_BYTES, KEY_BYTES = 2**16, 2**16
PEM, SSH = b"-----BEGIN", b"ssh-"


class Signature(BaseModel):
    """One signature of a digest: the fingerprint of the key, and the signature in base64."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    signature: str


class Signatures(BaseModel):
    """What `signature.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signatures: tuple[Signature, ...] = ()


def sign(folder: Path, digest: str, key: "Ed25519PrivateKey", context: bytes = LEARNGENE) -> str:
    """Add a signature of `digest` to the learngene in `folder`; the key's fingerprint. Others' signatures stay.

    One at a time on this machine: of two that sign at the same moment on two, the later one may be the only one left.
    Raises `BadInputError` where the folder cannot be written to.
    """
    name = fingerprint(key.public_key())
    own = Signature(key=name, signature=base64.b64encode(key.sign(context + digest.encode())).decode())
    locks = home() / "cache" / "signing"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / digest):
            others = [signature for signature in read_signatures(folder).signatures if signature.key != name]
            write_json(folder / SIGNATURE, Signatures(signatures=(*others, own)).model_dump(mode="json"))
    except OSError as error:
        raise BadInputError(f"{folder}: the signature cannot be written there ({error.strerror})") from error
    return name


def read_signatures(folder: Path) -> Signatures:
    """The signatures in a folder, unchecked; none where there is no such file. Raises `IntegrityError`."""
    path = folder / SIGNATURE
    try:
        return Signatures.model_validate(strict_json(read_plain(path, SIGNATURE_BYTES)))
    except (FileNotFoundError, NotADirectoryError):
        return Signatures()
    except ValidationError as error:
        raise IntegrityError(f"{path}: {error.errors()[0]['msg']}") from error
    except ValueError as error:
        raise IntegrityError(f"{path}: not signatures of a learngene ({error})") from error


def signers(folder: Path, digest: str, keys: "Keys", context: bytes = LEARNGENE) -> tuple[str, ...]:
    """The fingerprints of those among `keys` that signed this digest. Raises `IntegrityError` for a broken file."""
    from cryptography.exceptions import InvalidSignature

    found = []
    for signature in read_signatures(folder).signatures:
        if signature.key in keys:
            try:
                keys[signature.key].verify(base64.b64decode(signature.signature), context + digest.encode())
            except (InvalidSignature, binascii.Error):
                continue
            found.append(signature.key)
    return tuple(found)


def require_signed(folder: Path, digest: str, ref: str, context: bytes = LEARNGENE) -> None:
    """Where `ZOO_TRUSTED_KEYS` is set: raise `IntegrityError` unless one of its keys signed `digest` in `folder`."""
    if (keys := trusted_keys()) is None or signers(folder, digest, keys, context):
        return
    noun = "learngene" if context == LEARNGENE else "ready model"
    claimed = read_signatures(folder).signatures
    what = f"signed by none of the trusted keys, or the signature is of another {noun}" if claimed else "not signed"
    raise IntegrityError(f"{ref}: {what}; trusted are the keys of {TRUSTED} ({', '.join(short(keys))}); see `zoo sign`")


def trusted_keys() -> "Keys | None":
    """The keys that `ZOO_TRUSTED_KEYS` names, by fingerprint; None where it is not set.

    Raises `BadInputError` where it names no keys: a policy that cannot be read must not be one that allows everything.
    """
    place = os.environ.get(TRUSTED)
    if place is None:
        return None
    path = Path(place).expanduser()
    files = sorted(file for file in path.iterdir() if file.suffix in (".pem", ".pub")) if path.is_dir() else [path]
    if not place or not files or not all(file.is_file() for file in files):
        raise BadInputError(f"{TRUSTED}: {place!r} names no public keys; legal: a file, or a folder of *.pem and *.pub")
    keys = [key for file in files for key in _public_keys(file)]
    return {fingerprint(key): key for key in keys}


def signing_key(file: Path | None) -> "Ed25519PrivateKey":
    """The private key in `file`, or that of `ZOO_SIGNING_KEY` (a path, or the PEM text). Raises `BadInputError`."""
    _cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    said = os.environ.get(SIGNING, "")
    place = f"--key {file}" if file else SIGNING
    if not file and not said:
        raise BadInputError(f"--key: missing; name a private key (PEM), or set {SIGNING} to its path or to its text")
    text = said.encode() if not file and said.encode().startswith(PEM) else _read_key(file or Path(said), place)
    password = os.environ[PASSWORD].encode() if PASSWORD in os.environ else None
    load = load_ssh_private_key if b"OPENSSH" in text.partition(b"\n")[0] else load_pem_private_key
    try:
        key = load(text, password)
    except Exception as error:  # whatever it says, it may hold parts of the key
        raise BadInputError(
            f"{place}: no private key can be read ({type(error).__name__}); its password goes into {PASSWORD}"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInputError(f"{place}: not an ed25519 key; make one with `openssl genpkey -algorithm ed25519`")
    return key


def fingerprint(key: "Ed25519PublicKey") -> str:
    """SHA-256 (hex) of a public key's DER."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def short(fingerprints: Iterable[str]) -> list[str]:
    """Fingerprints as messages show them."""
    return [name[:12] for name in fingerprints]


def _public_keys(file: Path) -> "list[Ed25519PublicKey]":
    """All keys of a file: PEM blocks, or lines as `ssh-keygen` writes them."""
    _cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

    text = _read_key(file, TRUSTED)
    blocks = [PEM + block for block in text.split(PEM)[1:]]
    lines = [line for line in text.splitlines() if line.startswith(SSH)]
    try:
        keys = [load_pem_public_key(block) for block in blocks] + [load_ssh_public_key(line) for line in lines]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInputError(f"{TRUSTED}: {file}: no public key ({error})") from error
    if not keys or not all(isinstance(key, Ed25519PublicKey) for key in keys):
        raise BadInputError(f"{TRUSTED}: {file}: legal are ed25519 public keys, as PEM or as `ssh-keygen` writes them")
    return [key for key in keys if isinstance(key, Ed25519PublicKey)]


def _read_key(file: Path, place: str) -> bytes:
    try:
        with file.expanduser().open("rb") as opened:
            return opened.read(KEY_BYTES)
    except OSError as error:
        raise BadInputError(f"{place}: {file} cannot be read ({error.strerror})") from error


def _cryptography() -> None:
    if find_spec("cryptography") is None:
        raise BadInputError("signatures need the extra learngene-zoo[sign]")
