"""Which combinations of student, pruning share, runtime and precision meet a budget, and which one is chosen.

Pure functions of what was measured. One thing is taken for granted, and saves most trainings: of one artifact, what is
pruned further is not more accurate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from alambique.config.params import Budget
from alambique.layout import Candidate

RULE = (
    "of what meets all limits the most accurate, or with max_drop alone the fastest; if nothing does, the most "
    "accurate within latency and size; if nothing is within these, what exceeds them least, by the larger of both "
    "excesses in shares of their limits"
)
"""How the choice is made, in words."""


class Combination(NamedTuple):
    """What a search chooses among.

    Attributes:
        share: of `prune.target` that is removed; 0: the student as it was distilled.
    """

    student: str
    share: float
    runtime: str
    precision: str

    @property
    def artifact(self) -> str:
        """The name of the candidate that it would be."""
        return Candidate(self.student, self.runtime, self.precision).name

    @property
    def label(self) -> str:
        return f"{self.artifact} with {100 * self.share:.0f} % pruned"


class Cost(NamedTuple):
    """What an artifact costs, whatever its weights are; the median orders, since it is the steadier of both."""

    latency_p50_ms: float
    latency_p95_ms: float
    size_mb: float


class Excess(NamedTuple):
    """A limit that a combination exceeds.

    Attributes:
        limit: its name, as in params.yaml.
        allowed: the limit itself.
        value: the combination's figure.
        least: the least figure that was measured of any combination.
    """

    limit: str
    allowed: float
    value: float
    least: float

    @property
    def by(self) -> float:
        """How much too much it is, in the limit's unit."""
        return self.value - self.allowed


@dataclass(frozen=True)
class Figures:
    """All that a search knows.

    Attributes:
        budget: what is asked.
        costs: of every combination that there is.
        reference: headline metric on val of the most accurate distilled student, unpruned.
        accuracies: headline metric on val of the combinations measured so far, in the order of their trials; it grows.
    """

    budget: Budget
    costs: Mapping[Combination, Cost]
    reference: float
    accuracies: dict[Combination, float] = field(default_factory=dict)

    @property
    def accuracy_first(self) -> bool:
        """Whether the most accurate is sought; with `max_drop` alone that is the unpruned one, so the fastest is."""
        return self.budget.latency_p95_ms is not None or self.budget.size_mb is not None

    def drop(self, combination: Combination) -> float | None:
        """How much of the headline metric it costs; None before it is measured."""
        return self.reference - self.accuracies[combination] if combination in self.accuracies else None

    def excesses(self, combination: Combination) -> list[Excess]:
        """The limits that it is known to exceed."""
        cost, drop = self.costs[combination], self.drop(combination)
        drops = [self.reference - value for value in self.accuracies.values()]
        known = [
            ("latency_p95_ms", cost.latency_p95_ms, min(other.latency_p95_ms for other in self.costs.values())),
            ("size_mb", cost.size_mb, min(other.size_mb for other in self.costs.values())),
            *([] if drop is None else [("max_drop", drop, min(drops))]),
        ]
        limits = ((name, getattr(self.budget, name), value, least) for name, value, least in known)
        return [Excess(*limit) for limit in limits if limit[1] is not None and limit[2] > limit[1]]

    def affordable(self, among: Iterable[Combination]) -> list[Combination]:
        """Those within latency and size, in order."""
        return sorted(one for one in among if _over_cost(self.budget, self.costs[one]) <= 0)

    def worthwhile(self) -> list[Combination]:
        """The combinations of which one can be the best: of each artifact the least pruned, if accuracy comes first."""
        affordable = self.affordable(self.costs)
        if not self.accuracy_first:
            return affordable
        least: dict[str, Combination] = {}
        for combination in affordable:
            least.setdefault(combination.artifact, combination)
        return list(least.values())

    def open(self) -> list[Combination]:
        """Those whose accuracy could still change a student's choice."""
        return [
            combination
            for combination in self.worthwhile()
            if combination not in self.accuracies
            and not any(self._settles(measured, combination) for measured in self.accuracies)
        ]

    def _settles(self, measured: Combination, other: Combination) -> bool:
        """Whether what was measured makes the other one pointless."""
        drop, max_drop = self.drop(measured), self.budget.max_drop
        if drop is not None and max_drop is not None and drop > max_drop:
            return measured.artifact == other.artifact and measured.share <= other.share
        slower = self.costs[measured].latency_p50_ms <= self.costs[other].latency_p50_ms
        return not self.accuracy_first and measured.student == other.student and slower

    def choose(self, among: Collection[Combination]) -> Combination:
        """The best of some combinations, by `RULE`; what was not measured yields to what was, and if nothing was, it is
        the least pruned."""
        affordable = self.affordable(among)
        measured = [one for one in affordable if one in self.accuracies]
        if meeting := [one for one in measured if not self.excesses(one)]:
            return min(meeting, key=self._worth)
        if measured:
            return min(measured, key=lambda one: (-self.accuracies[one], self.costs[one], one))
        if affordable:
            return min(affordable, key=lambda one: (one.share, self.costs[one], one))
        return min(among, key=lambda one: (_over_cost(self.budget, self.costs[one]), self.costs[one], one))

    def _worth(self, combination: Combination) -> tuple[float | Combination, ...]:
        """Orders what meets the budget, the best first."""
        cost, loss = self.costs[combination], -self.accuracies[combination]
        first = (loss, cost.latency_p50_ms) if self.accuracy_first else (cost.latency_p50_ms, loss)
        return (*first, cost.size_mb, combination)


def _over_cost(budget: Budget, cost: Cost) -> float:
    """The larger excess over the limits of latency and size, in shares of the limit; at most 0: within both."""
    limits = ((cost.latency_p95_ms, budget.latency_p95_ms), (cost.size_mb, budget.size_mb))
    return max((value / limit - 1 for value, limit in limits if limit is not None), default=0.0)
