"""Signatures under records of results: nobody who can write to the bucket can tell of a result that there was none of.

An envelope is a DSSE envelope of JSON (github.com/secure-systems-lab/dsse), signed by a user nkey that follows from the
issuer's seed. Its public key can be kept elsewhere, for a night in which the seed is lost too.
"""

from collections.abc import Collection

import msgspec
import nkeys

from orchestrator.admission.nats_jwt import USER, raw_key
from shared.errors import InvalidInput
from shared.protocol.results.dsse import (
    Envelope,
    Signature,
    SignatureWrong,
    check_signature,
    decode_envelope,
    encode_envelope,
    pre_authentication_encoding,
)
from shared.protocol.results.result_record import PAYLOAD_TYPE
from shared.settings.secret import Secret


class SignatureMissing(InvalidInput):
    """A record of a result that is none, or that nobody has signed whose signature counts."""


class ResultSigner:
    def __init__(self, seed: Secret) -> None:
        self._pair = nkeys.from_seed(bytearray(seed.reveal(), "ascii"))
        self.public_key = self._pair.public_key.decode()

    def envelope(self, payload: bytes) -> bytes:
        """The payload with its signature, the same each time."""
        signed = pre_authentication_encoding(PAYLOAD_TYPE, payload)
        signature = Signature(self.public_key, self._pair.sign(signed))
        return encode_envelope(Envelope(payload_type=PAYLOAD_TYPE, payload=payload, signatures=(signature,)))

    def __repr__(self) -> str:
        return f"<ResultSigner {self.public_key}>"


def opened(envelope: bytes, keys: Collection[str]) -> bytes:
    """What one of these public keys has signed. Raises SignatureMissing."""
    try:
        found = decode_envelope(envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SignatureMissing("It is no record of a result.") from error
    if found.payload_type != PAYLOAD_TYPE:
        raise SignatureMissing("It is signed, but is no record of a result.")
    for each in found.signatures:
        if each.keyid in keys:
            try:
                check_signature(found, each.keyid)
            except SignatureWrong as error:
                raise SignatureMissing("It is not what was signed.") from error
            return found.payload
    raise SignatureMissing("It is not signed by this orchestrator.")


def check_public_key(text: str) -> str:
    """Raises BadSignature."""
    raw_key(text, USER)
    return text
