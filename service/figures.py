"""What Prometheus may ask one API process for."""

import time
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True)
class Figures:
    """The figures of one application; nothing is global, so that tests may have many."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    jobs: Gauge = field(init=False)
    waiting: Gauge = field(init=False)
    controllers: Gauge = field(init=False)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)

    def __post_init__(self) -> None:
        made = {
            "jobs": Gauge("paretrack_jobs", "Jobs by state", ["state"], registry=self.registry),
            "waiting": Gauge(
                "paretrack_queue_wait_seconds",
                "How long the job waits that has waited longest",
                registry=self.registry,
            ),
            "controllers": Gauge(
                "paretrack_controllers", "Controllers at work", registry=self.registry
            ),
            "requests": Counter(
                "paretrack_http_requests_total",
                "Requests of this process",
                ["method", "route", "status"],
                registry=self.registry,
            ),
            "seconds": Histogram(
                "paretrack_http_request_seconds",
                "Until the answer began",
                ["method", "route"],
                buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
                registry=self.registry,
            ),
        }
        for name, figure in made.items():
            object.__setattr__(self, name, figure)


class Counted:
    """Counts requests by the route that answered, never by path: ids would be without end."""

    def __init__(self, app: ASGIApp, figures: Figures) -> None:
        self.app, self._figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                labels = {"method": method, "route": route}
                self._figures.requests.labels(**labels, status=message["status"]).inc()
                self._figures.seconds.labels(**labels).observe(time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, noting)


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
