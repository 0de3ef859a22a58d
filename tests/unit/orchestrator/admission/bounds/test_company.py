"""Company: somebody is alone until another one does the same, and again a while after that."""

from orchestrator.admission.bounds.company import BESIDE_SECONDS, Company


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_somebody_is_beside_others_for_a_while_after_they_did_it() -> None:
    clock = Clock()
    company = Company(clock)
    assert not company.has_others("maria")
    company.note("maria")
    assert not company.has_others("maria")
    company.note("jens")
    company.note("maria")
    assert company.has_others("maria")
    assert company.has_others("jens")
    clock.now += BESIDE_SECONDS
    company.note("maria")
    assert not company.has_others("maria")
