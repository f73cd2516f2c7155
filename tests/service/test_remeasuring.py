"""A job that times again what others have measured: of that nothing is trained a second time."""

from typing import Any

import pytest
from sqlalchemy import Engine

from service.database import reading
from service.job import JobError
from service.jobs import StoredJob
from service.recorded import read_job
from service.spending import MEASURED_AGAIN, MEASURED_BEFORE
from service.trial_reading import Order, Which, WholeTrial, page, read_trial
from service.trials import read_trials
from tests.service.jobs import Bench
from tests.service.searched import searched
from tests.service.test_night_reports import ALL, Device
from workers.metrics import metric, value
from workers.pool import Report

TIMED: dict[str, Any] = {
    **ALL,
    "costs": ["macs_frame"],
    "probes": ["eager"],
    "budget": {"trials": 6},
    "opening": 6,
}


def first_night(engine: Engine, here: Bench, **words: Any) -> None:
    here.run(engine, Device(), here.job("first", **{**TIMED, **words}))


def trained(pool: Device) -> list[str]:
    return [ticket for ticket, until in pool.untils if until != "gates"]


def test_what_is_known_is_timed_and_not_trained(engine: Engine, here: Bench) -> None:
    first_night(engine, here)
    pool = Device(slower=2.0)
    done = here.run(engine, pool, here.job("second", remeasure=True, **TIMED))
    first = {t.digest: t for t in read_job(engine, "first").trials}
    second = read_job(engine, "second").trials
    assert {t.reason for t in second} == {MEASURED_AGAIN}
    assert trained(pool) == []
    for trial in second:
        then = first[trial.digest].figures
        assert trial.figures["average_overlap"] == then["average_overlap"]
        assert trial.figures["step_ms.eager"] == 2.0 * then["step_ms.eager"]
    assert done.reach.teacher["latency"]["eager"]["step"]["median_ms"] == pytest.approx(
        2.0 * read_job(engine, "first").teacher["step_ms.eager"]
    )
    attrs = read_trials(engine, "second")[0].user_attrs
    assert attrs["seconds"] == {"cost": 0.5}, "what the gates took tonight"


@pytest.mark.parametrize("words", [{"remeasure": False}, {"remeasure": True, "probes": []}])
def test_where_nothing_is_to_be_timed_it_is_known_at_once(
    engine: Engine, here: Bench, words: dict[str, Any]
) -> None:
    first_night(engine, here)
    pool = Device()
    here.run(engine, pool, here.job("second", **{**TIMED, **words}))
    assert {t.reason for t in read_job(engine, "second").trials} == {MEASURED_BEFORE}
    assert [ticket for ticket, _ in pool.untils] == ["smallest"]


def test_one_that_is_too_slow_by_now_is_infeasible(engine: Engine, here: Bench) -> None:
    first_night(engine, here)
    known = {t.digest: t for t in read_job(engine, "first").trials}
    slowest = max(t.figures["step_ms.eager"] for t in known.values())
    words = {**TIMED, "limits": [f"step_ms.eager<={1.05 * slowest}"], "opening": 0}
    words |= {"first": [dict(t.params) for t in known.values()], "remeasure": True}
    pool = Device(slower=1.1)
    here.run(engine, pool, here.job("second", **words))
    again = [t for t in read_job(engine, "second").trials if t.digest in known]
    assert len(again) == len(known)
    for trial in again:
        too_slow = 1.1 * known[trial.digest].figures["step_ms.eager"] > 1.05 * slowest
        assert trial.state == ("INFEASIBLE" if too_slow else "COMPLETE")
        assert trial.reason.startswith("step_ms.eager is" if too_slow else MEASURED_AGAIN)
    assert {t.state for t in again} == {"INFEASIBLE", "COMPLETE"}


def test_the_page_of_a_trial_shows_what_its_figures_were_read_from(
    engine: Engine, here: Bench
) -> None:
    """One whose job measured first, one whose job measured again, and one that was too slow."""
    words = {**TIMED, "opening": 0}
    first = searched(engine, here, name="first", pool=Device(), **words)
    known = wholes(engine, first)
    limit = 1.2 * sorted(latency(each) for each in known)[3]
    words |= {"first": [dict(each.line.params) for each in known], "remeasure": True}
    words |= {"limits": [f"step_ms.eager<={limit}"]}
    second = searched(engine, here, name="second", pool=Device(slower=1.2), **words)
    then = {each.line.digest: each for each in known}
    again = [each for each in wholes(engine, second) if each.line.digest in then]

    assert len(again) == len(known)
    assert {each.line.state for each in again} == {"COMPLETE", "INFEASIBLE"}
    for each in (*known, *again):
        measured = each.measurement
        assert measured is not None and measured["state"] == each.line.state
        for name, figure in each.line.figures.items():
            assert value(measured, metric(name)) == figure, name
        assert (measured["accuracy"] is None) == (each.line.state == "INFEASIBLE")
        assert each.architecture == then[each.line.digest].architecture is not None
    for each in again:
        assert latency(each) == pytest.approx(1.2 * latency(then[each.line.digest]))
        timing = (each.measurement or {})["latency"]["eager"]["track"]
        assert timing["p10_ms"] == timing["median_ms"] == each.line.figures["track_ms.eager"]


def test_what_another_job_measured_is_not_shown_as_ones_own(engine: Engine, here: Bench) -> None:
    """Two jobs have judged the same candidate, and the table has one measurement of it."""
    mine, other = Device(), Device(slower=3.0)
    words = {**TIMED, "opening": 0, "limits": ["step_ms.eager<=0.9"]}
    early = searched(engine, here, name="early", pool=mine, **words)
    seen = wholes(engine, early)
    broken = {each.line.digest for each in seen if each.line.state == "INFEASIBLE"}
    assert broken
    words |= {"limits": [], "first": [dict(each.line.params) for each in seen]}
    words |= {"budget": {"trials": len(seen)}}
    late = searched(engine, here, name="late", pool=other, **words)
    assert broken <= {e.line.digest for e in wholes(engine, late) if e.line.state == "COMPLETE"}
    for each in wholes(engine, early):
        if each.line.digest in broken:
            assert each.measurement is None
            assert (each.architecture or {})["family"] == "siamrpn"


def wholes(engine: Engine, job: StoredJob) -> list[WholeTrial]:
    with reading(engine) as connection:
        lines = page(connection, job.id, Which(), Order(), None, 100)
        found = [read_trial(connection, job.id, line.number) for line in lines]
    return [each for each in found if each is not None]


def latency(trial: WholeTrial) -> float:
    return trial.line.figures["step_ms.eager"]


def test_a_controller_that_ends_meanwhile_is_taken_over(engine: Engine, here: Bench) -> None:
    first_night(engine, here)

    class Dying(Device):
        def reports(self, timeout: float) -> list[Report]:
            if sum(until == "gates" for _, until in self.untils) > 4:
                raise KeyboardInterrupt
            return super().reports(timeout)

    job, dying = here.job("second", remeasure=True, **TIMED), Dying()
    with pytest.raises(KeyboardInterrupt):
        here.run(engine, dying, job, lease_seconds=0.5)
    assert 0 < len([t for t in read_trials(engine, "second") if t.state.is_finished()]) < 6
    pool = Device()
    here.run(engine, pool, job)
    known = {t.digest for t in read_job(engine, "first").trials}
    second = read_job(engine, "second").trials
    again = [t for t in second if t.digest in known]
    assert len(again) > 3
    assert {t.reason for t in again} == {MEASURED_AGAIN}
    assert trained(pool) == [f"{t.number}:0" for t in second if t.digest not in known]


def test_another_seed_of_the_sampler_draws_others_that_are_judged_alike(
    engine: Engine, here: Bench
) -> None:
    def tried(name: str, **words: Any) -> dict[str, Any]:
        here.run(engine, Device(), here.job(name, **{**TIMED, "opening": 0, **words}))
        return {t.digest: t.params for t in read_job(engine, name).trials}

    drawn = tried("a", sampler_seed=None), tried("b", sampler_seed=0), tried("c", sampler_seed=1)
    assert drawn[0] == drawn[1], "the seed is what it is without one"
    assert drawn[2] != drawn[0]
    digest, params = next(iter(drawn[0].items()))
    assert next(iter(tried("d", sampler_seed=2, first=[params]))) == digest
    with pytest.raises(JobError, match="sampler_seed"):
        here.job("e", sampler_seed=-1)
