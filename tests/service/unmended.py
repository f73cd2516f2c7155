"""A request whose path goes out as it stands: clients mend what looks like ``..``."""

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    kind: str
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


def unmended(
    url: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        kind = answer.getheader("content-type", "")
        return Answer(answer.status, kind, answer.read().decode())
    finally:
        connection.close()
