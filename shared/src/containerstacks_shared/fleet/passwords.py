"""Passwords: argon2id for new ones; the original application's bcrypt is accepted.

Both take tens of milliseconds of a core on purpose, so call them in a thread.
"""

from dataclasses import dataclass
from typing import Final

from pwdlib.hashers import HasherProtocol
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

# Longer input would only cost time.
PASSWORD_CHARACTERS_MAX = 1024
PASSWORD_CHARACTERS_MIN = 8
# The bytes that bcrypt reads. The original application's library ignores the rest; ours refuses more.
_BCRYPT_BYTES_MAX = 72

_ARGON2: Final = Argon2Hasher()
_BCRYPT: Final = BcryptHasher()
_HASHERS: Final[tuple[HasherProtocol, ...]] = (_ARGON2, _BCRYPT)


@dataclass(frozen=True)
class Verification:
    """`stronger_hash` is what should be stored instead of the hash that matched, if anything."""

    matches: bool
    stronger_hash: str | None = None


def hash_password(password: str) -> str:
    return _ARGON2.hash(password)


def verify_password(password: str, stored_hash: str | None) -> Verification:
    """Compare. A refusal always computes one hash of each kind, so its time does not show what is stored."""
    if len(password) > PASSWORD_CHARACTERS_MAX:
        return Verification(matches=False)
    own = next((hasher for hasher in _HASHERS if stored_hash and hasher.identify(stored_hash)), None)
    if own is not None and stored_hash and _is_matched(own, password, stored_hash):
        needs_rehash = own is not _ARGON2 or own.check_needs_rehash(stored_hash)
        return Verification(matches=True, stronger_hash=hash_password(password) if needs_rehash else None)
    for hasher in _HASHERS:
        if hasher is not own:
            hasher.hash(_seen_by(hasher, password))
    return Verification(matches=False)


def _is_matched(hasher: HasherProtocol, password: str, stored_hash: str) -> bool:
    try:
        return hasher.verify(_seen_by(hasher, password), stored_hash)
    except ValueError:
        # Looks like a hash and is not one: a common way to lock an account.
        return False


def _seen_by(hasher: HasherProtocol, password: str) -> bytes:
    return password.encode()[: _BCRYPT_BYTES_MAX if hasher is _BCRYPT else None]
