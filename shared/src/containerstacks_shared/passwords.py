"""Passwords: argon2id for new ones; the original application's bcrypt is accepted.

Both take tens of milliseconds of a core on purpose, so call them in a thread.
"""

from dataclasses import dataclass

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

# Longer input would only cost time; nobody's password is.
PASSWORD_CHARACTERS_MAX = 1024
# All that bcrypt ever looked at. The original application's library cuts here in silence; ours refuses more.
_BCRYPT_BYTES_MAX = 72

_HASHES = PasswordHash((Argon2Hasher(), BcryptHasher()))


@dataclass(frozen=True)
class Verification:
    """`stronger_hash` is what should be stored instead of the hash that matched, if anything."""

    matches: bool
    stronger_hash: str | None = None


def hash_password(password: str) -> str:
    return _HASHES.hash(password)


def verify_password(password: str, stored_hash: str | None) -> Verification:
    """Compare. Without a stored hash it only takes the time, so as not to tell that there is no such user."""
    if len(password) > PASSWORD_CHARACTERS_MAX:
        return Verification(matches=False)
    if stored_hash is None:
        hash_password(password)
        return Verification(matches=False)
    is_bcrypt = BcryptHasher.identify(stored_hash)
    secret = password.encode()[:_BCRYPT_BYTES_MAX] if is_bcrypt else password.encode()
    try:
        matches = _HASHES.verify(secret, stored_hash)
    except UnknownHashError:
        return Verification(matches=False)
    if not matches:
        return Verification(matches=False)
    needs_rehash = is_bcrypt or _HASHES.current_hasher.check_needs_rehash(stored_hash)
    return Verification(matches=True, stronger_hash=hash_password(password) if needs_rehash else None)
