"""Passwords: what is accepted, what is stored anew, and what never matches."""

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

from containerstacks_shared.fleet.passwords import PASSWORD_CHARACTERS_MAX, hash_password, verify_password

# 12 rounds.
OF_BCRYPTJS = "$2b$12$qpfcoEw/4R/TN1Ip8EqLsOcnN1mtcxG8JuufZe9YbgHJH9DOde8Em"


def bcrypt_of(password: bytes, prefix: bytes = b"2b") -> str:
    """Hash as the original application does, with fewer rounds to save time."""
    return bcrypt.hashpw(password, bcrypt.gensalt(4, prefix)).decode()


def test_new_hashes_are_argon2id_and_match_without_another() -> None:
    stored = hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    accepted = verify_password("correct horse", stored)
    assert (accepted.matches, accepted.stronger_hash) == (True, None)
    assert not verify_password("wrong horse", stored).matches


@pytest.mark.parametrize("prefix", [b"2a", b"2b"])
def test_bcrypt_is_accepted_and_gives_a_stronger_hash(prefix: bytes) -> None:
    accepted = verify_password("correct horse", bcrypt_of(b"correct horse", prefix))
    assert accepted.matches
    assert accepted.stronger_hash is not None
    assert verify_password("correct horse", accepted.stronger_hash).matches


def test_the_original_applications_own_hash_is_accepted() -> None:
    assert verify_password("correct horse battery staple", OF_BCRYPTJS).matches


def test_bcrypt_looks_at_seventy_two_bytes_as_it_always_did() -> None:
    password = "ü" * 50
    stored = bcrypt_of(password.encode()[:72])
    assert verify_password(password, stored).matches
    # The stronger hash is of the whole password.
    stronger = verify_password(password, stored).stronger_hash
    assert not verify_password(password[:36], stronger).matches


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "plain",
        "$argon2id$broken",
        "$2b$12$short",
        f"$2b$12${'x' * 53}",
        f"$2b$99${'.' * 53}",
        "5f4dcc3b5aa765d61d8327deb882cf99",
    ],
)
def test_a_malformed_hash_never_matches(stored: str | None) -> None:
    refused = verify_password("password", stored)
    assert (refused.matches, refused.stronger_hash) == (False, None)


def counting(counted: Counter[str], name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def count(*arguments: Any) -> Any:
        counted[name] += 1
        return work(*arguments)

    return count


@pytest.mark.parametrize(
    "stored",
    [None, "no hash", bcrypt_of(b"another"), hash_password("another")],
    ids=["none", "odd", "bcrypt", "argon2"],
)
def test_a_refusal_costs_the_same_whatever_is_stored(
    monkeypatch: pytest.MonkeyPatch, stored: str | None
) -> None:
    counted: Counter[str] = Counter()
    for hasher, work in itertools.product((Argon2Hasher, BcryptHasher), ("hash", "verify")):
        monkeypatch.setattr(hasher, work, counting(counted, hasher.__name__, getattr(hasher, work)))
    assert not verify_password("password\0", stored).matches
    assert counted == {"Argon2Hasher": 1, "BcryptHasher": 1}


def test_a_password_beyond_measure_is_refused_unread() -> None:
    password = "x" * (PASSWORD_CHARACTERS_MAX + 1)
    assert not verify_password(password, hash_password(password)).matches
