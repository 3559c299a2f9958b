"""Linux's Secret Service, asked for one secret.

The packages `secretstorage` and `keyring` do the same, and more; what they import takes longer than
a listing of chats. The secret comes encrypted: the bus, whose memory is not protected, sees none.
"""

from __future__ import annotations

import os
from typing import Any

NAME = "org.freedesktop.secrets"
PATH = "/org/freedesktop/secrets"
INTERFACE = "org.freedesktop.Secret"
ALGORITHM = "dh-ietf1024-sha256-aes128-cbc-pkcs7"
EXPONENT_SIZE = 40  # bytes; twice what the group is worth
GROUP_SIZE = 128
ANSWER_SECONDS = 25.0  # as other programs wait on this bus
# The second group of RFC 2409.
PRIME = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74"
    "020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437"
    "4fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff",
    16,
)


def find_password(attributes: dict[str, str]) -> str:
    """The secret of an item with these attributes that is not locked; empty where there is none.

    Raises:
        Exception: Whatever is wrong with the bus, or the service.
    """
    from jeepney.io.blocking import open_dbus_connection

    with open_dbus_connection() as bus:
        unlocked, _ = _call(bus, PATH, "Service.SearchItems", "a{ss}", attributes)
        if not unlocked:
            return ""
        exponent = int.from_bytes(os.urandom(EXPONENT_SIZE), "big")
        own = pow(2, exponent, PRIME).to_bytes(GROUP_SIZE, "big")
        (_, other), session = _call(bus, PATH, "Service.OpenSession", "sv", ALGORITHM, ("ay", own))
        ((_, vector, sealed, _),) = _call(bus, unlocked[0], "Item.GetSecret", "o", session)
    shared = pow(_in_group(other), exponent, PRIME).to_bytes(GROUP_SIZE, "big")
    return _decrypted(bytes(sealed), bytes(vector), shared).decode("ascii")


def _call(bus: Any, path: str, method: str, signature: str, *body: Any) -> Any:
    from jeepney import DBusAddress, new_method_call
    from jeepney.wrappers import unwrap_msg

    interface, _, name = f"{INTERFACE}.{method}".rpartition(".")
    address = DBusAddress(path, bus_name=NAME, interface=interface)
    call = new_method_call(address, name, signature, body)
    return unwrap_msg(bus.send_and_get_reply(call, timeout=ANSWER_SECONDS))


def _in_group(public: bytes) -> int:
    """A public key of the exchange; ValueError where it would make the shared one known."""
    number = int.from_bytes(public, "big")
    if not 1 < number < PRIME - 1:
        raise ValueError(number)
    return number


def _decrypted(sealed: bytes, vector: bytes, shared: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.hazmat.primitives.padding import PKCS7

    key = algorithms.AES128(HKDF(SHA256(), 16, None, b"").derive(shared))
    cipher = Cipher(key, modes.CBC(vector)).decryptor()
    padding = PKCS7(algorithms.AES128.block_size).unpadder()
    return padding.update(cipher.update(sealed) + cipher.finalize()) + padding.finalize()
