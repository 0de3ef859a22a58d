"""An allowance: so much a second for each of many, whoever they are."""

MOST_IDLE = 4096
"""Of how many at least it is remembered how much they have used, before those that have all left are dropped."""
MOST = 65_536
"""Of so many at most; those that came first are forgotten first, and have all of it again."""


class Allowance:
    """So much a second for each, and `burst` at once of one that was silent before."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._cost_seconds = 1 / per_second
        self._ahead_seconds = burst / per_second
        self._most = MOST_IDLE
        self._until: dict[str, float] = {}
        """Up to which instant each has used its allowance up (the generic cell rate algorithm)."""

    def take(self, who: str, cost: float, now: float) -> bool:
        """Whether there is so much left, which is then used up."""
        until = max(self._until.get(who, now), now)
        if until - now > self._ahead_seconds:
            return False
        self._use(who, until + cost * self._cost_seconds, now)
        return True

    def charge(self, who: str, cost: float, now: float) -> None:
        """Use so much up, also what is not there yet; nobody is ever more than twice the burst behind."""
        until = max(self._until.get(who, now), now) + cost * self._cost_seconds
        self._use(who, min(until, now + 2 * self._ahead_seconds), now)

    def reserve(self, who: str, cost: float, now: float) -> float:
        """Use so much up, and after how many seconds it is there: those who wait for it come one after the other."""
        until = max(self._until.get(who, now), now) + cost * self._cost_seconds
        self._use(who, until, now)
        return max(0.0, until - now - self._ahead_seconds)

    def _use(self, who: str, until: float, now: float) -> None:
        self._until[who] = until
        if len(self._until) > self._most:
            self._until = {each: until for each, until in self._until.items() if until > now}
            if len(self._until) > MOST:
                self._until = dict(list(self._until.items())[-MOST // 2 :])
            self._most = min(MOST, max(MOST_IDLE, 2 * len(self._until)))

    def wait_seconds(self, who: str, now: float) -> float:
        """After how long something is left again."""
        return max(0.0, self._until.get(who, now) - now - self._ahead_seconds)

    def __repr__(self) -> str:
        return f"<Allowance of {1 / self._cost_seconds:g}/s, {len(self._until)} known>"
