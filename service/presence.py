"""Which controllers are there: each keeps a lease on its own name as long as it works."""

from sqlalchemy import Engine

from service import leases
from service.leases import Lease

CONTROLLERS = "controller: "  # before their names
SECONDS = 30.0  # without a word, and it counts as gone


class Presence:
    """A controller's word that it is there, said anew now and then."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name
        self._lease: Lease | None = None

    def say(self) -> None:
        """To be called every few seconds."""
        if self._lease is not None:
            try:
                self._lease = leases.renew(self._engine, self._lease, SECONDS)
                return
            except leases.LeaseLost:  # it slept for long, and its name was tidied away
                self._lease = None
        self._lease = leases.acquire(self._engine, CONTROLLERS + self._name, self._name, SECONDS)

    def leave(self) -> None:
        """It ends in order, and is not missed."""
        if self._lease is not None:
            leases.release(self._engine, self._lease)
