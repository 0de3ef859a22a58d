import base64
import json

import nkeys
import pytest

from orchestrator.admission import nats_jwt
from orchestrator.admission.nats_jwt import BadSignature

ACCOUNT_SEED = bytes(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_ACCOUNT))
SERVER_SEED = bytes(nkeys.encode_seed(bytes([1] * 32), nkeys.PREFIX_BYTE_SERVER))


def pair(seed: bytes) -> nkeys.KeyPair:
    return nkeys.from_seed(bytearray(seed))


def to_base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def forged(header: object, claims: object, signer: nkeys.KeyPair) -> bytes:
    signed = to_base64(json.dumps(header).encode()) + b"." + to_base64(json.dumps(claims).encode())
    return signed + b"." + to_base64(signer.sign(signed))


def test_claims_come_back_from_a_token_with_their_issuer() -> None:
    signer = pair(SERVER_SEED)
    token = nats_jwt.encode({"sub": "ü"}, signer)
    assert json.loads(nats_jwt.decode(token, issuer_kind=nats_jwt.SERVER)) == {
        "sub": "ü",
        "iss": signer.public_key.decode(),
    }


def test_a_token_has_the_form_that_nats_server_reads() -> None:
    """Made once and compared with github.com/nats-io/jwt version 2; servers of all versions must read it."""
    header, payload, signature = nats_jwt.encode({"sub": "x"}, pair(ACCOUNT_SEED)).split(b".")
    assert base64.urlsafe_b64decode(header + b"==") == b'{"typ":"JWT","alg":"ed25519-nkey"}'
    assert json.loads(base64.urlsafe_b64decode(payload + b"=="))["iss"].startswith("A")
    assert len(base64.urlsafe_b64decode(signature + b"==")) == 64
    assert b"=" not in header + payload + signature


def test_a_claim_cannot_name_another_issuer_than_the_signer() -> None:
    signer = pair(ACCOUNT_SEED)
    claims = json.loads(nats_jwt.decode(nats_jwt.encode({"iss": "AXXX"}, signer), issuer_kind=nats_jwt.ACCOUNT))
    assert claims["iss"] == signer.public_key.decode()


def test_a_token_of_a_key_of_another_kind_is_refused() -> None:
    token = nats_jwt.encode({}, pair(ACCOUNT_SEED))
    with pytest.raises(BadSignature):
        nats_jwt.decode(token, issuer_kind=nats_jwt.SERVER)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_that_was_changed_is_refused(part: int) -> None:
    parts = nats_jwt.encode({"sub": "a"}, pair(SERVER_SEED)).split(b".")
    other = nats_jwt.encode({"sub": "b"}, pair(ACCOUNT_SEED)).split(b".")
    parts[part] = other[part] if part else to_base64(b'{"typ": "JWT", "alg": "ed25519-nkey", "x": 1}')
    with pytest.raises(BadSignature):
        nats_jwt.decode(b".".join(parts), issuer_kind=nats_jwt.SERVER)


@pytest.mark.parametrize("algorithm", ["none", "ed25519", "HS256", "ED25519-NKEY"])
def test_a_token_with_another_algorithm_is_refused(algorithm: str) -> None:
    signer = pair(SERVER_SEED)
    token = forged({"typ": "JWT", "alg": algorithm}, {"iss": signer.public_key.decode()}, signer)
    with pytest.raises(BadSignature, match="algorithm"):
        nats_jwt.decode(token, issuer_kind=nats_jwt.SERVER)


def test_a_token_that_is_too_long_is_refused_unread() -> None:
    token = nats_jwt.encode({"pad": "x" * nats_jwt.MAX_TOKEN_BYTES}, pair(SERVER_SEED))
    with pytest.raises(BadSignature, match="too long"):
        nats_jwt.decode(token, issuer_kind=nats_jwt.SERVER)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"..",
        b"...",
        b"a.b.c",
        b"\xff.\xff.\xff",
        b"e30.e30.e30",
        to_base64(b"[" * 20_000) + b".e30.e30",
        to_base64(b'{"typ":"JWT","alg":"ed25519-nkey"}') + b"." + to_base64(b'{"iss": 1}') + b".",
        to_base64(b'{"typ":"JWT","alg":"ed25519-nkey"}') + b"." + to_base64(b'{"iss": "N\xff"}') + b".",
    ],
)
def test_what_is_no_token_is_refused(token: bytes) -> None:
    with pytest.raises(BadSignature):
        nats_jwt.decode(token, issuer_kind=nats_jwt.SERVER)


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key.lower(),
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda _: "",
        lambda _: "ü" * 56,
        lambda _: "N" * 1_000_000,
    ],
)
def test_a_key_that_is_not_well_formed_is_refused(change: object) -> None:
    signer = pair(SERVER_SEED)
    assert callable(change)
    with pytest.raises(BadSignature):
        nats_jwt.verify(b"m", signer.sign(b"m"), change(signer.public_key.decode()), kind=nats_jwt.SERVER)


@pytest.mark.parametrize("signature", [b"", b"x", bytes(63), bytes(64), bytes(65)])
def test_a_signature_that_is_none_is_refused(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        nats_jwt.verify(b"m", signature, pair(SERVER_SEED).public_key.decode(), kind=nats_jwt.SERVER)


@pytest.mark.parametrize("text", [b"-_-_", b"+/+/", b"-_8", b"-_8="])
def test_both_alphabets_of_base64_are_read_with_padding_or_without(text: bytes) -> None:
    assert nats_jwt.from_base64(text)[:2] == b"\xfb\xff"
