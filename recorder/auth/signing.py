"""The recorder's Ed25519 key: made on first use, kept apart from the database, replaceable.

The key file is PEM (PKCS #8, not encrypted), mode 0600. Beside it `NAME.known` keeps the public key of every key that
has been used, one a line, so that what an older key signed can still be checked after the file was replaced: by removing
it (a new key is made at the next start) or by putting another one in its place. Whoever can read the key file can sign;
that is why heads are kept elsewhere, too.

A key's id is its public key, 64 hex digits.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from recorder.config.files import read_file, special_kind
from recorder.core.errors import InvalidSetting

FILE_MODE, DIRECTORY_MODE = 0o600, 0o700
_HINT = "set KEY_FILE to an Ed25519 key in PEM, to where one may be made, or to none to sign nothing"


class SigningKey:
    """A private key.

    Args:
        private: It.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key_id = private.public_key().public_bytes_raw().hex()  # names the key wherever it has signed

    def sign(self, statement: bytes) -> bytes:
        """Sign a statement and return the 64 bytes of the signature."""
        return self._private.sign(statement)


def open_key(path: Path) -> SigningKey:
    """Read a file's signing key, created if missing, and add it to the list of known keys.

    Raises:
        InvalidSetting: It cannot be read or made, or is no Ed25519 key.
    """
    kind = special_kind(path)
    if kind is not None:
        raise InvalidSetting(f"KEY_FILE: {path} is {kind}, not a file", hint=_HINT)
    try:
        _make_if_missing(path)
        key = _read(path)
        if stat.S_IMODE(path.stat().st_mode) & ~FILE_MODE:
            path.chmod(FILE_MODE)
        _note(path, key.key_id)
    except OSError as error:
        raise InvalidSetting(f"KEY_FILE: {path}: {error.strerror}", hint=_HINT) from None
    return key


def known_keys(path: Path) -> frozenset[str]:
    """Return the ids of the current and former keys of a key file, as far as they can be read; creates
    nothing.
    """
    found = _noted(path)
    with suppress(InvalidSetting):
        found |= {public_key(path)}
    return found


def sealed_epochs(path: Path) -> frozenset[str]:
    """Return the epochs in which a file was sealed with this key: such a file without a seal has lost it.

    The list is beside the key, not in the database, so that whoever may write only the database cannot shorten it.
    """
    try:
        return frozenset(read_file(_sealed(path)).decode("ascii").split())
    except (OSError, UnicodeDecodeError):
        return frozenset()


def note_sealed(path: Path, epoch: str) -> None:
    """Add an epoch to `sealed_epochs`. Raises OSError where the key's folder cannot be written."""
    if epoch in sealed_epochs(path):
        return
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    _write(os.open(_sealed(path), flags, FILE_MODE), f"{epoch}\n".encode())


def public_key(path: Path) -> str:
    """Return the id of the key in a PEM file, private or public.

    Raises:
        InvalidSetting: It cannot be read, or is no Ed25519 key.
    """
    try:
        data = read_file(path)
        if b"PRIVATE" in data:
            return _read(path).key_id
        key = serialization.load_pem_public_key(data)
    except OSError as error:
        raise InvalidSetting(f"{path}: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidSetting(f"{path}: not an Ed25519 key in PEM")
    return key.public_bytes_raw().hex()


def is_key_id(text: str) -> bool:
    """Return whether a text has the form of a key id."""
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)


def is_signed(key_id: str, statement: bytes, signature: bytes) -> bool:
    """Return whether a key made the signature of a statement."""
    if not is_key_id(key_id):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key_id)).verify(signature, statement)
    except (InvalidSignature, ValueError):
        return False
    return True


def _known(path: Path) -> Path:
    return path.with_name(f"{path.name}.known")


def _sealed(path: Path) -> Path:
    return path.with_name(f"{path.name}.sealed")


def _noted(path: Path) -> frozenset[str]:
    try:
        lines = read_file(_known(path)).decode("ascii").split()
    except (OSError, UnicodeDecodeError):
        lines = []
    return frozenset(line for line in lines if is_key_id(line))


def _read(path: Path) -> SigningKey:
    try:
        key = serialization.load_pem_private_key(read_file(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidSetting(f"KEY_FILE: {path} holds no Ed25519 key in PEM", hint=_HINT)
    return SigningKey(key)


def _make_if_missing(path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        _write(handle, pem)
        # A link, not a rename: of two recorders that start at once, the second must not replace the first one's key.
        os.link(name, path)
        _sync_directory(path.parent)
    except FileExistsError:
        pass  # the other one was faster, and its key is ours, too
    finally:
        os.unlink(name)


def _note(path: Path, key_id: str) -> None:
    if key_id in _noted(path):
        return
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    _write(os.open(_known(path), flags, FILE_MODE), f"{key_id}\n".encode())


def _write(handle: int, data: bytes) -> None:
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
