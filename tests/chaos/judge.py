"""What a verdict is asked of."""

from dataclasses import dataclass

from tests.chaos.facts import Facts


@dataclass(frozen=True)
class Judge:
    """Asks the facts, and fails with what offends, what was done near it, and how to repeat the run."""

    facts: Facts
    how_to_repeat: str

    def none(self, sql: str) -> None:
        """The query finds nothing. Its rows are `symbol`, `moment`, and what is of interest."""
        offenders = self.facts.rows(f"from ({sql}) order by moment, symbol")
        assert not offenders, f"{self.facts.report(offenders)}\n{self.how_to_repeat}"
