"""Key sets: whatever an issuer publishes is either a set of keys or a sentence, and never anything else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.admission.sign_in.key_set import KeySet, KeySetUnusable, SigningKeyUnfit
from tests.played_issuer import IssuersKey, encoded

PARTS = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=20),
    st.lists(st.sampled_from(["verify", "sign"]), max_size=2),
    st.sampled_from(["AQAB", "RSA", "EC", "OKP", "P-256", "Ed25519", "RS256", "sig", encoded(b"\xff" * 256)]),
)
JWK = st.dictionaries(
    st.sampled_from(["kty", "crv", "n", "e", "x", "y", "d", "k", "alg", "use", "key_ops", "kid"]), PARTS, max_size=9
)
KIND = st.sampled_from([{"kty": "RSA"}, {"kty": "EC", "crv": "P-256"}, {"kty": "OKP", "crv": "Ed25519"}, {}])


@given(st.lists(st.builds(lambda kind, rest: {**rest, **kind}, KIND, JWK) | PARTS, max_size=4))
def test_what_is_published_is_read_or_told_to_be_unusable(keys: list[Any]) -> None:
    try:
        found = KeySet.read({"keys": keys})
    except KeySetUnusable:
        return
    for kid in (None, *(each["kid"] for each in keys if isinstance(each, dict) and isinstance(each.get("kid"), str))):
        for algorithm in ("RS256", "ES256", "EdDSA"):
            try:
                key = found.find(kid, algorithm)
            except SigningKeyUnfit:
                continue
            assert key is None or algorithm in key.algorithms


def test_a_size_that_nobody_has_is_not_computed_with() -> None:
    good = IssuersKey("RS256")
    huge = [{**good.jwk, "n": encoded(b"\xff" * 5000)}, {**good.jwk, "n": "A" * 100_000}, {**good.jwk, "e": "_" * 40}]
    for jwk in huge:
        with pytest.raises(KeySetUnusable, match="larger than any is"):
            KeySet.read({"keys": [jwk]})


def test_a_name_may_stand_for_keys_of_two_kinds() -> None:
    two = [IssuersKey("RS256", kid="k"), IssuersKey("ES256", kid="k")]
    found = KeySet.read({"keys": [each.jwk for each in two]})
    for key in two:
        chosen = found.find("k", key.algorithm)
        assert chosen is not None
        assert chosen.algorithms == {key.algorithm}


def test_a_key_without_an_algorithm_is_for_those_of_its_kind_alone() -> None:
    jwk = {name: value for name, value in IssuersKey("ES256", kid="k").jwk.items() if name != "alg"}
    found = KeySet.read({"keys": [jwk]})
    assert found.find("k", "ES256") is not None
    for algorithm in ("RS256", "ES384", "EdDSA", "HS256"):
        with pytest.raises(SigningKeyUnfit):
            found.find("k", algorithm)
