"""Sign-in: whose a token of the issuer is, and what the rules of the configuration allow that one."""

import hashlib
import time

from orchestrator.admission.principals import Principal
from orchestrator.admission.sign_in.issuer import Issuer
from orchestrator.admission.sign_in.token import TokenHolder, identity, read_token
from shared.errors import Forbidden
from shared.settings.sign_in import SECTION, Oauth2
from shared.settings.sign_in_rules import SignInRules

MOST_SHOWN = 100
MOST_REMEMBERED = 10_000
"""People whose last token is remembered."""


class PersonRefused(Forbidden):
    """The issuer has said who this is. `name` is that one's own, as in `Principal`."""

    def __init__(self, name: str, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.name = name


class NoRuleMatches(PersonRefused):
    """The message begins as that of the reference, for which programs look."""

    def __init__(self, name: str, shown: str) -> None:
        super().__init__(
            name,
            f"Request Forbidden: {shown!r} is known to the issuer, and no rule here lets that one in.",
            f"Whoever runs the orchestrator says in {SECTION}.Rules who may do what, by claims of the token.",
        )


class RefusedByRule(PersonRefused):
    def __init__(self, name: str, shown: str) -> None:
        told = f"Request Forbidden: {shown!r} is shut out by a rule."
        super().__init__(name, told, "Ask whoever runs the orchestrator.")


class SignIn:
    def __init__(self, settings: Oauth2) -> None:
        self.settings = settings
        self.issuer = Issuer(settings)
        self._used: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<SignIn by {self.issuer!r}>"

    async def principal(self, token: str) -> Principal:
        """Raises Unauthorized, Forbidden, and Unavailable where the issuer's keys are not known.

        What is wrong with a token whoever signed it is told first, and asks nobody.
        """
        read = read_token(token, self.settings.algorithms)
        who = identity(read.claims, self.settings, now=time.time())
        read.verify(await self.issuer.key(read.kid, read.algorithm))
        return principal(who, self.settings.rules, name_claim=self.settings.name_claim)

    def is_first_use(self, person: Principal) -> bool:
        """Whether that one has come with a later token than before, which is how somebody signs in."""
        if self._used.get(person.key_id, 0) >= person.expires:
            return False
        self._used.pop(person.key_id, None)
        while len(self._used) >= MOST_REMEMBERED:
            del self._used[next(iter(self._used))]
        self._used[person.key_id] = person.expires
        return True


def principal(who: TokenHolder, rules: SignInRules, *, name_claim: str) -> Principal:
    """By the first rule that matches. Raises NoRuleMatches, RefusedByRule."""
    name = f"{who.issuer}|{who.subject}"
    shown = who.claims.get(name_claim)
    told = shown if isinstance(shown, str) and shown.isprintable() and 0 < len(shown) <= MOST_SHOWN else who.subject
    rule = rules.first(who.claims)
    if rule is None:
        raise NoRuleMatches(name, told)
    if rule.refuses:
        raise RefusedByRule(name, told)
    return Principal(
        name=name,
        kind="person",
        shown=told,
        capabilities=frozenset(rule.capabilities),
        namespaces=frozenset(rule.namespaces),
        key_id=f"oidc-{hashlib.sha256(name.encode()).hexdigest()[:32]}",
        expires=int(who.expires * 1e9),
    )
