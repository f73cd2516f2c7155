"""A controller process whose candidates cost nothing: what is left is the service itself.

python -m tests.kills.noop_controller HOME DATABASE_URL
"""

import signal
import sys
from pathlib import Path

from service import daemon, queue
from service.daemon import Daemon
from service.database import open_database
from service.settings import Settings
from tests.service.table_pool import TablePool

LEASE_SECONDS = 3.0


class Cancels(TablePool):
    def cancel(self, ticket: str) -> None:
        """Nothing runs that could be ended."""


def main() -> None:
    home, url = sys.argv[1:]
    daemon.RESCUE = daemon.LOOK = 0.2
    queue.FIRST_PAUSE = 0.1
    made = Daemon(
        Settings(home=Path(home), database_url=url),
        open_database(url),
        Cancels(4),
        at_once=2,
        lease_seconds=LEASE_SECONDS,
    )
    signal.signal(signal.SIGTERM, lambda *_: made.end())
    made.run()


if __name__ == "__main__":
    main()
