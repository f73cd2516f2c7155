"""What docs/serving.md tells operators and receivers of webhooks is what happens."""

import json
import re
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from service import deliveries
from service.callouts import NotAllowed, allowed_from_words, checked_addresses, target_of
from service.settings import read_settings
from service.signatures import TOLERANCE, signed
from tests.service.hooks import SECRET, add_hook, add_job, deliver
from tests.service.receiver import receiving

SECTION = Path("docs/serving.md").read_text().partition("\n## Webhooks\n")[2].partition("\n## ")[0]
BODY = b'{"id": "night:3"}'
Says = Callable[[str, Mapping[str, str], bytes], Any]


def snippet(name: str) -> Says:
    """A function as somebody copies it from there."""
    shown: list[str] = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    (code,) = (each for each in shown if f"def {name}(" in each)
    place: dict[str, Any] = {}
    exec(code, place)
    found: Says = place[name]
    return found


WAYS = [snippet("event_of"), snippet("is_ours")]


@pytest.mark.parametrize("says", WAYS)
def test_a_receiver_who_copies_it_knows_a_real_delivery(says: Says, engine: Engine) -> None:
    with receiving() as receiver:
        add_hook(engine, receiver.url)
        add_job(engine)
        deliver(engine)
    (heard,) = receiver.heard
    assert says(SECRET, heard.headers, heard.body)
    shown = re.search(r"```json\n(.*?)```", SECTION, re.DOTALL)
    assert shown is not None
    example, event = json.loads(shown[1]), json.loads(heard.body)
    for of in (dict, lambda e: e["job"], lambda e: e["data"]):
        assert list(of(example)) == list(of(event))
    named = set(re.findall(r"`(Paretrack-\w+)`", SECTION))
    assert named == {name for name in heard.headers if name.startswith("Paretrack-")}


@pytest.mark.parametrize("says", WAYS)
def test_a_receiver_who_copies_it_refuses_anything_else(says: Says) -> None:
    now = int(time.time())
    good = signed(SECRET, now, BODY)
    assert says(SECRET, good, BODY)
    assert says(SECRET, {name.upper(): value for name, value in good.items()}, BODY)
    late = signed(SECRET, now - int(TOLERANCE) - 60, BODY)
    early = signed(SECRET, now + int(TOLERANCE) + 60, BODY)
    refused: list[tuple[str, Mapping[str, str], bytes]] = [
        ("whsec_of_somebody_else", good, BODY),
        (SECRET, good, BODY + b" "),
        (SECRET, late, BODY),
        (SECRET, early, BODY),
        (SECRET, {}, BODY),
        (SECRET, {"Paretrack-Timestamp": str(now)}, BODY),
        (SECRET, {**good, "Paretrack-Timestamp": str(now + 1)}, BODY),
        (SECRET, {**good, "Paretrack-Timestamp": "٣"}, BODY),
        (SECRET, {**good, "Paretrack-Timestamp": "9" * 5000}, BODY),
        (SECRET, {**good, "Paretrack-Signature": "v1=ä"}, BODY),
    ]
    for words in refused:
        assert not says(*words), words


def test_the_operators_example_allows_what_is_said_of_it() -> None:
    (line,) = re.findall(r"^PARETRACK_WEBHOOK_ALLOW=(\S+)$", SECTION, re.MULTILINE)
    settings = read_settings({"PARETRACK_WEBHOOK_ALLOW": line})
    assert settings.webhook_allow == ("hooks.internal", "10.1.0.0/16", "192.168.7.9")
    allowed = allowed_from_words(settings.webhook_allow)

    def may(host: str, *addresses: str) -> bool:
        try:
            checked_addresses(target_of(f"http://{host}/"), allowed, lambda *_: addresses)
        except NotAllowed:
            return False
        return True

    assert may("hooks.internal", "172.16.0.1"), "wherever it leads"
    assert not may("below.hooks.internal", "172.16.0.1")
    assert may("ci.internal", "10.1.200.3") and may("ci.internal", "192.168.7.9")
    assert may("ci.internal", "10.1.200.3", "8.8.8.8")
    assert not may("ci.internal", "10.1.200.3", "10.2.0.1"), "all must be"
    assert not may("localhost", "127.0.0.1")
    assert not allowed.has(ip_address("192.168.7.8"))
    with pytest.raises(Exception, match=r"10\.1\.0\.1/16"):
        allowed_from_words(["10.1.0.1/16"])


def test_its_figures_are_those_of_the_code() -> None:
    words = " ".join(SECTION.split())
    assert f"after {deliveries.ATTEMPTS} attempts, three days, it is given up" in words
    assert f"failed {deliveries.MOST_FAILURES} times in a row" in words
    assert f"kept for {deliveries.KEPT_DAYS} days" in words
    assert f"{deliveries.LONGEST_PAUSE / 3600:g} hours at most" in words
    assert "half a minute later, then three times as long" in words
    assert (deliveries.FIRST_PAUSE, deliveries.GROWTH) == (30.0, 3.0)
    assert {kind for kind in deliveries.KINDS if f"`{kind}`" in words} == set(deliveries.KINDS)
