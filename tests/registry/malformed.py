"""Learngenes as an attacker or a broken disk would write them: strategies for hypothesis."""

import copy
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from zoo.manifest import MANIFEST, TENSORS

Damage = Callable[[Path], None]
"""Damages the learngene in a folder."""


def examples(count: int) -> settings:
    """So many examples, the same in every run, whatever the time that each takes."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=slow,
    )


numbers = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([2**22, 2**31, 2**63, 2**64, 10**400, -(2**63)]),
    st.floats(allow_nan=False, allow_infinity=False),
)
names = st.sampled_from(["depth", "width", "name", "front", "kronecker", "random", "vit", "bert", "", "\x00", "../x"])
leaves = st.one_of(st.none(), st.booleans(), numbers, names, st.text('ab0/.\\"\n', max_size=8))
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=8
)


@st.composite
def changed_json(draw: DrawFn, content: Any) -> Any:
    """The content with one of its values, at any depth, changed, doubled, taken away or put elsewhere."""
    content = copy.deepcopy(content)
    places = list(_places(content))
    parent, key = draw(st.sampled_from(places))
    action = draw(st.sampled_from(["change", "change", "remove", "swap", "nest", "add"]))
    if action == "change":
        parent[key] = draw(values)
    elif action == "remove":
        del parent[key]
    elif action == "swap":
        other, place = draw(st.sampled_from(places))
        parent[key] = copy.deepcopy(other[place])
    elif action == "nest":
        for _ in range(draw(st.sampled_from([1, 40, 400]))):
            parent[key] = [parent[key]]
    elif isinstance(parent, dict):
        parent[draw(names)] = draw(values)
    return content


def _places(content: Any) -> Any:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield content, key
        yield from _places(value)


@st.composite
def changed_bytes(draw: DrawFn, data: bytes) -> bytes:
    """The bytes cut off, with some of them overwritten, doubled, or with others put in."""
    at = draw(st.integers(0, len(data) - 1))
    action = draw(st.sampled_from(["cut", "write", "insert", "double"]))
    if action == "cut":
        return data[:at]
    if action == "double":
        return data[:at] + data[max(0, at - 20) :]
    piece = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"NaN", b"1e999", b"\xef\xbb\xbf", b'"', b"{{"]))
    return data[:at] + piece + data[at + (len(piece) if action == "write" else 0) :]


def damaged_manifest(sound: Path) -> st.SearchStrategy[Damage]:
    """Damages of `manifest.json`, of its values and of its bytes."""
    data = (sound / MANIFEST).read_bytes()
    as_json = changed_json(json.loads(data)).map(lambda content: json.dumps(content).encode())
    doubled = st.sampled_from(["family", "tensors", "schema_version"]).map(
        lambda name: data.replace(b"{", f'{{"{name}": "x", '.encode(), 1)
    )
    return st.one_of(as_json, as_json, changed_bytes(data), doubled).map(_writes_manifest)


def damaged_json(file: Path) -> st.SearchStrategy[bytes]:
    """Other contents of a JSON file: another of its values, or of its bytes."""
    data = file.read_bytes()
    as_json = changed_json(json.loads(data)).map(lambda content: json.dumps(content).encode())
    return st.one_of(as_json, as_json, changed_bytes(data))


def damaged_tensors(sound: Path) -> st.SearchStrategy[Damage]:
    """Damages of the tensors' file whose digest the manifest vouches for all the same, so that they are looked at."""
    data = (sound / TENSORS).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = data[8 : 8 + length], data[8 + length :]
    content = json.loads(header)
    sizes = st.one_of(st.integers(0, 2**16), st.sampled_from([2**20 + 1, 2**31, 2**63, 2**64 - 1]))

    def whole(changed: bytes, said: int | None = None, rest: bytes = body) -> bytes:
        return struct.pack("<Q", len(changed) if said is None else said) + changed + rest

    headers = changed_json(content) | tensor_fields(content)
    return st.one_of(
        headers.map(lambda changed: whole(json.dumps(changed).encode())),
        headers.map(lambda changed: whole(json.dumps(changed).encode())),
        changed_bytes(header).map(whole),
        sizes.map(lambda said: whole(header, said)),
        st.integers(0, len(data) - 1).map(lambda end: data[:end]),
        st.binary(min_size=1, max_size=64).map(lambda more: whole(header, None, body + more)),
        st.binary(max_size=64),
    ).map(_writes_tensors)


@st.composite
def tensor_fields(draw: DrawFn, content: dict[str, Any]) -> dict[str, Any]:
    """A header in which one tensor has another dtype, shape, place in the file, or name."""
    content = copy.deepcopy(content)
    name = draw(st.sampled_from(sorted(set(content) - {"__metadata__"})))
    tensor = content[name]
    field = draw(st.sampled_from(["dtype", "shape", "data_offsets", "reshape", "rename", "overlap"]))
    if field == "dtype":
        kinds = ["F64", "F16", "BF16", "I32", "U32", "BOOL", "C64", "F8_E4M3", "F4", "I64", "x"]
        tensor["dtype"] = draw(st.sampled_from(kinds))
    elif field == "shape":
        tensor["shape"] = draw(st.lists(st.sampled_from([0, 1, 3, 2**31, 2**62, -1]), max_size=5))
    elif field == "data_offsets":
        tensor["data_offsets"] = draw(st.lists(st.sampled_from([0, 1, 64, 2**40, 2**64 - 1, -8]), max_size=3))
    elif field == "reshape":
        tensor["shape"] = [1, *reversed(tensor["shape"])]
    elif field == "rename":
        content[draw(names)] = content.pop(name)
    else:
        other = content[draw(st.sampled_from(sorted(set(content) - {"__metadata__"})))]
        tensor["data_offsets"] = other["data_offsets"]
    return content


def _writes_manifest(data: bytes) -> Damage:
    return lambda folder: _write(folder / MANIFEST, data)


def _writes_tensors(data: bytes) -> Damage:
    def write(folder: Path) -> None:
        content = json.loads((folder / MANIFEST).read_text())
        _write(folder / TENSORS, data)
        _write(folder / MANIFEST, json.dumps(content | {"tensors": hashlib.sha256(data).hexdigest()}).encode())

    return write


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
