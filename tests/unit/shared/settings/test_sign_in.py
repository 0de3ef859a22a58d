"""Settings of sign-in: which rules and URLs make sense, and which claims a rule fits."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigurationInvalid
from shared.settings.keys import values
from shared.settings.loading import load
from shared.settings.sign_in import Oauth2, sign_in_problems, url_problem
from shared.settings.sign_in_rules import ClaimCondition, SignInRules, fits

READS = [{"Actions": ["read:job"]}]
RULE = {"Match": [{"Claim": "groups", "Value": "people"}], "Capabilities": READS, "Namespaces": ["*"]}
ISSUER = "https://login.example.com/realm"


def rules(*written: dict[str, Any]) -> SignInRules:
    return SignInRules.read("Rules", list(written))


def first(found: SignInRules, **claims: Any) -> tuple[str, ...] | None:
    rule = found.first(claims)
    return None if rule is None else rule.namespaces


class TestConditions:
    @pytest.mark.parametrize(
        ("claims", "holds"),
        [
            ({"groups": "people"}, True),
            ({"groups": ["others", "people"]}, True),
            ({"groups": ["others"]}, False),
            ({"groups": "People"}, False),
            ({"groups": ["people2"]}, False),
            ({"groups": [["people"]]}, False),
            ({"groups": {"people": True}}, False),
            ({"groups": "others people"}, False),
            ({"Groups": "people"}, False),
            ({"groups": None}, False),
            ({}, False),
        ],
    )
    def test_a_value_is_the_claim_or_an_item_of_it(self, claims: dict[str, Any], *, holds: bool) -> None:
        assert ClaimCondition(path=("groups",), value="people").holds(claims) is holds

    def test_a_claim_may_lie_within_others_and_its_name_may_have_dots(self) -> None:
        nested = ClaimCondition(path=("realm_access", "roles"), value="admin")
        assert nested.holds({"realm_access": {"roles": ["admin"]}})
        assert not nested.holds({"realm_access.roles": ["admin"]})
        assert not nested.holds({"realm_access": ["admin"]})
        assert ClaimCondition(path=("https://example.com/role",), value="a").holds({"https://example.com/role": "a"})

    def test_a_truth_is_no_number_and_no_text(self) -> None:
        verified = ClaimCondition(path=("email_verified",), value=True)
        assert verified.holds({"email_verified": True})
        assert not any(verified.holds({"email_verified": each}) for each in (1, "true", "True", [1]))

    def test_the_scope_is_a_list_in_a_text(self) -> None:
        writes = ClaimCondition(path=("scope",), value="jobs:write")
        assert writes.holds({"scope": "openid jobs:write"})
        assert not writes.holds({"scope": "openid jobs:writer"})

    @pytest.mark.parametrize(
        ("pattern", "text", "expected"),
        [
            ("*", "", True),
            ("*", "anything", True),
            ("a*", "a", True),
            ("a*a", "a", False),
            ("a*a", "aa", True),
            ("*@example.com", "ada@example.com", True),
            ("*@example.com", "ada@example.com.evil.org", False),
            ("*@example.com", "ada@example.com\n", False),
            ("*@example.com", "ada@exampleXcom", False),
            ("team-*-x-*-y", "team-1-x-2-y", True),
            ("team-*-x-*-y", "team-1-x-y", False),
            ("a**b", "ab", True),
            ("a?[b]", "a?[b]", True),
            ("A*", "a", False),
        ],
    )
    def test_a_pattern_fits_the_whole_text(self, pattern: str, text: str, *, expected: bool) -> None:
        assert fits(pattern, text) is expected

    @given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
    def test_a_pattern_fits_as_its_parts_in_their_order(self, pattern: str, text: str) -> None:
        import re

        as_expression = ".*".join(re.escape(part) for part in pattern.split("*"))
        assert fits(pattern, text) is (re.fullmatch(as_expression, text, re.DOTALL) is not None)


class TestRules:
    def test_the_first_rule_counts_and_without_one_nobody_is_let_in(self) -> None:
        found = rules(
            {"Match": [{"Claim": "groups", "Value": "a"}], "Capabilities": READS, "Namespaces": ["a"]},
            {"Match": [{"Claim": "groups", "Pattern": "*"}], "Capabilities": READS, "Namespaces": ["rest"]},
        )
        assert first(found, groups=["b", "a"]) == ("a",)
        assert first(found, groups=["b"]) == ("rest",)
        assert first(found, sub="1") is None
        assert first(rules(), sub="1") is None

    def test_all_conditions_of_a_rule_have_to_hold(self) -> None:
        both = [{"Claim": "email", "Pattern": "*@example.com"}, {"Claim": "email_verified", "Value": True}]
        found = rules({"Match": both, "Capabilities": READS, "Namespaces": ["*"]})
        assert first(found, email="a@example.com", email_verified=True) == ("*",)
        assert first(found, email="a@example.com", email_verified=False) is None
        assert first(found, email="a@example.com") is None

    @pytest.mark.parametrize(
        ("rule", "problem"),
        [
            ({"Capabilities": READS, "Namespaces": ["*"]}, "it has no Match"),
            ({**RULE, "Namespaces": []}, "it has no Namespaces"),
            ({**RULE, "Capabilities": []}, "No capability is given"),
            ({**RULE, "Capabilities": [{"Actions": ["read:jobs"]}]}, "'read:jobs' is not a capability"),
            ({**RULE, "Refuse": True}, "it has Refuse beside"),
            ({**RULE, "Match": [{"Claim": "a"}]}, "a Value or a Pattern"),
            ({**RULE, "Match": [{"Claim": "a", "Value": "b", "Pattern": "c"}]}, "and not both"),
            ({**RULE, "Match": [{"Claim": "", "Value": "b"}]}, "has no Claim"),
            ({**RULE, "Match": [{"Claim": [], "Value": "b"}]}, "has no Claim"),
            ({**RULE, "Match": [{"Claim": "a", "Value": ""}]}, "empty Value"),
            ({**RULE, "Matches": []}, "Matches"),
            ("people", "Rules[0]"),
        ],
    )
    def test_a_rule_that_makes_no_sense_is_refused(self, rule: Any, problem: str) -> None:
        with pytest.raises(ConfigurationInvalid) as told:
            rules(rule)
        assert problem in told.value.message

    def test_rules_are_shown_as_they_were_written(self) -> None:
        out = {"Match": [{"Claim": ["a", "b"], "Pattern": "x*"}], "Refuse": True}
        assert rules(RULE, out).shown() == [RULE, out]


class TestSettings:
    def test_settings_are_read_from_a_file_and_shown(self, tmp_path: Path) -> None:
        file = tmp_path / "a.yaml"
        file.write_text(
            f"API: {{Auth: {{Oauth2: {{Issuer: '{ISSUER}', Audience: api, Leeway: 1m, Rules: [{{Match: [{{Claim: a,"
            " Value: true}], Capabilities: [{Actions: ['*']}], Namespaces: [b]}]}}}\n"
        )
        config = load(sets=[str(file)], env={"HOME": str(tmp_path)}).config
        assert config.api.auth.oauth2.leeway == 60.0
        assert values(config)["API.Auth.Oauth2.Rules"] == [
            {
                "Match": [{"Claim": "a", "Value": True}],
                "Capabilities": [{"Actions": ["*"]}],
                "Namespaces": ["b"],
            }
        ]

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"audience": ""}, "Audience is not set"),
            ({"rules": SignInRules()}, "Rules is not set"),
            ({"algorithms": ("RS256", "HS256")}, "Algorithms: 'HS256' is none of"),
            ({"algorithms": ("none",)}, "Algorithms: 'none' is none of"),
            ({"algorithms": ()}, "Algorithms"),
            ({"leeway": 301.0}, "Leeway"),
            ({"keys_lifetime": 0.0}, "KeysLifetime"),
            ({"max_token_life": 0.0}, "MaxTokenLife"),
            ({"issuer": "http://login.example.com"}, "Issuer has to begin with https://"),
            ({"issuer": "https://login.example.com/?a=b"}, "Issuer must not hold"),
            ({"issuer": "login.example.com"}, "Issuer is not a URL"),
            ({"token_endpoint": "http://login.example.com/token"}, "TokenEndpoint has to begin with https://"),
            ({"token_endpoint": "http://127.0.0.1:1/token"}, "TokenEndpoint has to begin with https://"),
        ],
    )
    def test_what_would_let_in_nobody_or_anybody_is_a_problem(self, change: dict[str, Any], problem: str) -> None:
        good: dict[str, Any] = {"issuer": ISSUER, "audience": "api", "rules": rules(RULE)}
        assert list(sign_in_problems(Oauth2(**good), anonymous=False)) == []
        (told,) = sign_in_problems(Oauth2(**{**good, **change}), anonymous=False)
        assert told.startswith(f"API.Auth.Oauth2.{problem}")

    def test_nobody_is_let_in_without_signing_in_where_people_sign_in(self) -> None:
        settings = Oauth2(issuer=ISSUER, audience="api", rules=rules(RULE))
        (told,) = sign_in_problems(settings, anonymous=True)
        assert told == "API.Auth.Anonymous and API.Auth.Oauth2.Issuer are both set; keep one of them"
        assert list(sign_in_problems(Oauth2(audience="api"), anonymous=False))
        assert not list(sign_in_problems(Oauth2(), anonymous=True))

    def test_no_problem_of_a_url_quotes_it(self) -> None:
        secret = "https://user:hidden@login.example.com"
        assert "hidden" not in url_problem(secret, issuer=secret)
        assert url_problem(secret, issuer=secret)
        assert url_problem("https://[::1", issuer=ISSUER)
        assert url_problem("https://login.example.com/a b", issuer=ISSUER)
        assert not url_problem("http://127.0.0.1:1/token", issuer="http://localhost:1")
