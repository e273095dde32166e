"""Signatures, and the policy that only learngenes signed by trusted keys are used, wherever one comes from."""

import json
import logging
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import zoo
from registry.entries import list_entries
from registry.promote import promote, set_alias
from registry.pull import pull
from registry.register import register
from zoo.api import locate
from zoo.errors import BadInputError, IntegrityError
from zoo.files import SIGNATURE, digest_folder
from zoo.learngene import check
from zoo.signatures import fingerprint, read_signatures, sign, signers, signing_key, trusted_keys

MakeLearngene = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("ready_home")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Private keys `a.pem` and `b.pem` as openssl makes them, their public halves in `public/`."""
    (tmp_path / "public").mkdir()
    for name in "ab":
        private, public = tmp_path / f"{name}.pem", tmp_path / "public" / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return tmp_path


@pytest.fixture
def trusted(keys: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only key `a` is trusted."""
    (keys / "public" / "b.pem").unlink()
    monkeypatch.setenv("ZOO_TRUSTED_KEYS", str(keys / "public"))
    return keys


def _sign(folder: Path, key: Path) -> str:
    return sign(folder, check(folder).digest, signing_key(key))


def test_only_what_a_trusted_key_signed_leaves_the_registry(learngene: MakeLearngene, trusted: Path) -> None:
    source = learngene()
    register(source, "vit", metrics={})
    for use in (lambda: pull("vit"), lambda: zoo.load("vit", depth=1, width=8), lambda: promote("vit:1")):
        with pytest.raises(IntegrityError, match="not signed; trusted are the keys of ZOO_TRUSTED_KEYS"):
            use()
    _sign(source, trusted / "b.pem")
    with pytest.raises(IntegrityError, match="signed by none of the trusted keys"):
        pull("vit")
    _sign(source, trusted / "a.pem")
    zoo.load("vit", depth=1, width=8)
    assert promote("vit:1").aliases == ("champion",)
    assert len(read_signatures(pull("vit")).signatures) == 2


def test_a_folder_named_by_hand_is_under_the_policy_too(learngene: MakeLearngene, trusted: Path) -> None:
    source = learngene()
    with pytest.raises(IntegrityError, match="not signed"):
        zoo.load(str(source), depth=1, width=8)
    _sign(source, trusted / "a.pem")
    assert locate(str(source)) == source


def test_a_signature_of_another_learngene_is_worth_nothing(learngene: MakeLearngene, trusted: Path) -> None:
    source, other = learngene(1), learngene(2)
    register(source, "vit", metrics={})
    _sign(other, trusted / "a.pem")
    shutil.copy(other / SIGNATURE, source)
    with pytest.raises(IntegrityError, match="the signature is of another learngene"):
        pull("vit")


def test_the_copy_of_a_node_is_asked_for_its_signature_at_every_use(
    learngene: MakeLearngene, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = learngene()
    register(source, "vit", metrics={})
    copy = pull("vit")
    monkeypatch.setenv("ZOO_TRUSTED_KEYS", str(keys / "public" / "a.pem"))
    with pytest.raises(IntegrityError, match="not signed"):
        pull("vit")
    _sign(source, keys / "a.pem")
    assert pull("vit") == copy  # the signature is fetched
    shutil.rmtree(source)
    assert pull("vit") == copy
    monkeypatch.setenv("ZOO_TRUSTED_KEYS", str(keys / "public" / "b.pem"))  # the key is not trusted any more
    with pytest.raises((IntegrityError, zoo.NotFoundError)):
        pull("vit")


def test_no_unsigned_version_becomes_the_champion_by_any_way(learngene: MakeLearngene, trusted: Path) -> None:
    source = learngene()
    register(source, "vit", metrics={})
    with pytest.raises(IntegrityError, match="vit:1: not signed"):
        set_alias("vit", "champion", 1)
    set_alias("vit", "candidate", 1)


def test_lists_name_what_will_be_refused(
    learngene: MakeLearngene, trusted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signed = learngene(2)
    _sign(signed, trusted / "a.pem")
    register(learngene(1), "vit", metrics={})
    register(signed, "vit", metrics={})
    with caplog.at_level(logging.WARNING, logger="registry.entries"):
        list_entries()
    assert "1 learngenes are not signed by the keys of ZOO_TRUSTED_KEYS and will be refused: vit:1" in caplog.text


def test_a_signature_changes_neither_digest_nor_content(learngene: MakeLearngene, keys: Path) -> None:
    source = learngene()
    before = check(source).digest, digest_folder(source)
    _sign(source, keys / "a.pem")
    assert (check(source).digest, digest_folder(source)) == before


def test_of_many_who_sign_at_once_nobody_is_lost(learngene: MakeLearngene) -> None:
    folder = learngene()
    digest, keys = check(folder).digest, [Ed25519PrivateKey.generate() for _ in range(12)]
    with ThreadPoolExecutor(len(keys)) as pool:
        names = set(pool.map(lambda key: sign(folder, digest, key), keys))
    assert {signature.key for signature in read_signatures(folder).signatures} == names
    assert len(names) == len(keys)


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"signatures": 3}', '{"signatures": [], "signatures": []}', "x" * 70_000],
)
def test_a_broken_signature_file_is_refused_under_the_policy(
    learngene: MakeLearngene, trusted: Path, text: str
) -> None:
    source = learngene()
    (source / SIGNATURE).write_text(text)
    with pytest.raises(IntegrityError, match=SIGNATURE):
        locate(str(source))


def test_signatures_that_are_no_base64_or_of_other_bytes_do_not_count(learngene: MakeLearngene, trusted: Path) -> None:
    source = learngene()
    name, digest = _sign(source, trusted / "a.pem"), check(source).digest
    keys = trusted_keys()
    assert keys is not None
    assert signers(source, digest, keys) == (name,)
    for wrong in ("?", "", "AAAA"):
        content = {"signatures": [{"key": name, "signature": wrong}]}
        (source / SIGNATURE).write_text(json.dumps(content))
        assert signers(source, digest, keys) == ()


@pytest.mark.parametrize("place", ["", "nowhere", "empty", "a.pem"])
def test_a_policy_that_names_no_public_keys_allows_nothing(
    learngene: MakeLearngene, keys: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (keys / "empty").mkdir()
    monkeypatch.setenv("ZOO_TRUSTED_KEYS", str(keys / place) if place else "")
    with pytest.raises(BadInputError, match="ZOO_TRUSTED_KEYS"):
        locate(str(learngene()))


def test_keys_of_ssh_and_of_the_environment_do_as_well(
    keys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = signing_key(keys / "a.pem")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (tmp_path / "id_ed25519").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (tmp_path / "id_ed25519.pub").write_bytes(public + b" me@here\n")
    monkeypatch.setenv("ZOO_TRUSTED_KEYS", str(tmp_path / "id_ed25519.pub"))
    assert list(trusted_keys() or {}) == [fingerprint(key.public_key())]
    for said in (str(tmp_path / "id_ed25519"), (keys / "a.pem").read_text()):
        monkeypatch.setenv("ZOO_SIGNING_KEY", said)
        assert fingerprint(signing_key(None).public_key()) == fingerprint(key.public_key())


def test_what_is_no_key_is_refused_and_never_shown(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_SIGNING_KEY", raising=False)
    with pytest.raises(BadInputError, match="--key: missing"):
        signing_key(None)
    (tmp_path / "secret").write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    with pytest.raises(BadInputError, match="no private key can be read") as caught:
        signing_key(tmp_path / "secret")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(BadInputError, match="no private key can be read"):
        signing_key(keys / "public" / "a.pem")
