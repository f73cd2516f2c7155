"""What one API process has: settings, the database, who may call, a process to look at jobs."""

from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Engine

from service.artefacts import Checksums
from service.beside import Beside, Errands
from service.callers import EMBEDDED, Caller
from service.event_feed import Feed, Pace
from service.figures import Figures
from service.gates import KnownGates
from service.importances import KnownImportances
from service.known_figures import KnownFigures
from service.lever_schema import KnownLevers
from service.settings import Settings
from service.tokens import KnownTokens, bearer
from service.trial_layers import KnownCuts


@dataclass(frozen=True)
class Service:
    """Handed to every route."""

    settings: Settings
    engine: Engine
    tokens: KnownTokens | None  # None: one user, who needs none
    beside: Beside = field(default_factory=Beside)
    errands: Errands = field(default_factory=Errands)
    checksums: Checksums = field(default_factory=Checksums)
    levers: KnownLevers = field(default_factory=KnownLevers)
    figures: Figures = field(default_factory=Figures)
    of_trials: KnownFigures = field(default_factory=KnownFigures)
    importances: KnownImportances = field(default_factory=KnownImportances)
    gates: KnownGates = field(default_factory=KnownGates)
    cuts: KnownCuts = field(default_factory=KnownCuts)
    pace: Pace = field(default_factory=Pace)

    @cached_property
    def feed(self) -> Feed:
        """What happens to jobs, for those who follow them."""
        return Feed(self.engine, self.pace)

    def caller(self, authorization: str | None) -> Caller:
        """Who sends this header. Without tokens it is the one user there is."""
        if self.tokens is None:
            return EMBEDDED
        return self.tokens.caller(bearer(authorization))
