"""Who did what, kept with the deed."""

import pytest
from sqlalchemy import Engine

from service import audit
from service.database import database_now, reading, writing


class Changed(Exception):  # noqa: N818
    """Somebody changed their mind."""


def test_entries_of_one_subject_come_in_their_order_with_who_and_why(engine: Engine) -> None:
    with writing(engine) as connection:
        audit.record(connection, "ann (laptop)", "job pause", "job a", "too loud", to="PAUSED")
        audit.record(connection, "bob", "job pause", "job b")
        audit.record(connection, "bob", "job resume", "job a", priority=3)
    first, second = audit.read(engine, "job a")
    assert (first.who, first.action, first.why) == ("ann (laptop)", "job pause", "too loud")
    assert first.detail == {"to": "PAUSED"}
    assert second.detail == {"priority": 3}
    assert first.at <= second.at
    with reading(engine) as connection:
        assert second.at <= database_now(connection)
    assert [entry.subject for entry in audit.read(engine, None)] == ["job a", "job b", "job a"]


def test_a_page_ends_at_its_limit_and_the_next_begins_behind_it(engine: Engine) -> None:
    with writing(engine) as connection:
        for number in range(5):
            audit.record(connection, "ann", "job edit", "job a", number=number)
    page = audit.read(engine, "job a", limit=3)
    rest = audit.read(engine, "job a", after=page[-1].id, limit=3)
    assert [entry.detail["number"] for entry in page + rest] == [0, 1, 2, 3, 4]
    assert audit.read(engine, "job a", after=rest[-1].id) == []


def test_what_was_not_done_has_no_entry(engine: Engine) -> None:
    with pytest.raises(Changed), writing(engine) as connection:
        audit.record(connection, "ann", "job cancel", "job a")
        raise Changed
    assert audit.read(engine, "job a") == []


def test_no_secret_gets_into_the_audit(engine: Engine) -> None:
    token = "pt_0123456789abcdef_" + "s" * 43
    with writing(engine) as connection:
        audit.record(
            connection,
            "ann",
            "webhook create",
            "webhook a",
            f"my token is {token}",
            url="https://ann:hunter2@example.com/hook",
            secret="hunter2",
            tried=[token, {"Authorization": "Basic aHVudGVyMg=="}],
        )
    (entry,) = audit.read(engine, "webhook a")
    assert "sssss" not in repr(entry)
    assert "hunter2" not in repr(entry)
    assert "aHVudGVyMg" not in repr(entry)
    assert entry.detail["url"] == "https://ann:***@example.com/hook"
    assert entry.why == "my token is pt_0123456789abcdef_***"


def test_names_longer_than_the_table_holds_are_cut_and_still_found(engine: Engine) -> None:
    with writing(engine) as connection:
        audit.record(connection, "o" * 500, "job edit", "job " + "j" * 500)
    (entry,) = audit.read(engine, "job " + "j" * 500)
    assert len(entry.who) == len(entry.subject) == 200
