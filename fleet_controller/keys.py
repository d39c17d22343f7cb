"""The private keys that sign a model repository: ed25519, one per TUF role, each in its own PEM file (PKCS #8, RFC 5958).

A role whose key file is absent cannot sign here: that is how a key is kept offline. With a passphrase the files are encrypted.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from edge_agent.update.durable import write_durable
from fleet_controller.errors import RepositoryError

ROLES = ("root", "targets", "snapshot", "timestamp")
PASSPHRASE_VARIABLE = "EDGE_FLEET_PASSPHRASE"
_KEY_MODE = 0o600


def read_passphrase(path: Path | None) -> bytes:
    """The passphrase in ``path``, else in ``$EDGE_FLEET_PASSPHRASE``, else empty. Raises :class:`RepositoryError`."""
    if path is None:
        return os.environ.get(PASSPHRASE_VARIABLE, "").encode()
    try:
        passphrase = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise RepositoryError(f"{path}: cannot read the passphrase: {error.strerror}") from None
    if not passphrase:
        raise RepositoryError(f"{path}: the passphrase file is empty")
    return passphrase


def make_keys(folder: Path, passphrase: bytes) -> dict[str, CryptoSigner]:
    """A fresh key for every role, written durably to ``folder`` with mode 0600; unencrypted when ``passphrase`` is empty."""
    folder.mkdir(mode=0o700)
    signers = {}
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    for role in ROLES:
        key = Ed25519PrivateKey.generate()
        write_durable(key_path(folder, role), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), mode=_KEY_MODE)
        signers[role] = CryptoSigner(key)
    return signers


def key_path(folder: Path, role: str) -> Path:
    return folder / f"{role}.pem"


def load_key(folder: Path, role: str, passphrase: bytes) -> CryptoSigner:
    """The signer of ``role``. Raises :class:`RepositoryError` saying what is wrong with its file."""
    path = key_path(folder, role)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RepositoryError(f"{path}: the {role} key is not here; bring the key to this machine to sign with it") from None
    except OSError as error:
        raise RepositoryError(f"{path}: cannot read the {role} key: {error.strerror}") from None
    try:
        key = load_pem_private_key(data, passphrase if b"ENCRYPTED" in data else None)
    except TypeError:
        raise RepositoryError(f"{path}: the key is encrypted; give its passphrase by --passphrase-file or ${PASSPHRASE_VARIABLE}") from None
    except ValueError:
        raise RepositoryError(f"{path}: not a private key, or the wrong passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise RepositoryError(f"{path}: not an ed25519 key")
    return CryptoSigner(key)
