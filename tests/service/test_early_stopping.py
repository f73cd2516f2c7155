"""Who goes on, who waits, who stops, and what the user reads about it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.early_stopping import (
    RULES,
    TIES,
    Decision,
    EarlyStopping,
    EarlyStoppingError,
    Median,
    MoAsha,
    RungResult,
    make,
)
from service.front import ranks

VALUE = st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.8, 1.3])
POINTS = st.integers(1, 3).flatmap(
    lambda d: st.lists(st.tuples(*[VALUE] * d), min_size=1, max_size=24)
)
RULE = st.sampled_from(sorted(RULES))


def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def lived(
    rule: EarlyStopping, points: list[tuple[float, ...]], seed: int, events: int = 80
) -> list[tuple[str, object]]:
    """A search in small: results come, and at random moments somebody who may goes on."""
    rng, log, numbers = random.Random(seed), [], iter(range(len(points)))
    ready: list[tuple[int, int]] = []
    for _ in range(events):
        if rng.random() < 0.6 and (number := next(numbers, None)) is not None:
            ready.append((number, 0))
        if ready and rng.random() < 0.7:
            number, rung = ready.pop(rng.randrange(len(ready)))
            result = RungResult(number, rung, points[number])
            log.append(("reported", (result, rule.reported(result))))
        if rng.random() < 0.5 and (decision := rule.next()) is not None:
            rule.went_on(decision.number, decision.rung)
            log.append(("went on", decision))
            if decision.rung < 2:
                ready.append((decision.number, decision.rung + 1))
    return log


def results_and_promotions(
    log: list[tuple[str, object]],
) -> tuple[list[RungResult], list[Decision]]:
    results = [what[0] for kind, what in log if kind == "reported"]  # type: ignore[index]
    return results, [what for kind, what in log if kind == "went on"]  # type: ignore[misc]


@given(RULE, POINTS, st.integers(0, 99), st.integers(0, 80))
def test_a_rule_told_again_what_happened_decides_as_it_would_have(
    name: str, points: list[tuple[float, ...]], seed: int, until: int
) -> None:
    lives, again = make(name), make(name)
    log = lived(lives, points, seed, events=until)
    results, promotions = results_and_promotions(log)
    for result in results:
        again.reported(result)
    for decision in promotions:
        again.went_on(decision.number, decision.rung)
    assert again.next() == lives.next()
    assert again.rest() == lives.rest()


@given(RULE, POINTS, st.integers(0, 99))
def test_the_same_history_gives_the_same_decisions(
    name: str, points: list[tuple[float, ...]], seed: int
) -> None:
    assert lived(make(name), points, seed) == lived(make(name), points, seed)


@given(st.sampled_from(sorted(TIES)), st.sampled_from([2, 3, 4]), POINTS, st.integers(0, 99))
def test_mo_asha_promotes_no_more_than_its_share_and_only_from_the_best(
    ties: str, eta: int, points: list[tuple[float, ...]], seed: int
) -> None:
    reported: dict[int, list[int]] = {}
    gone: dict[int, list[int]] = {}
    for kind, what in lived(MoAsha(eta, ties), points, seed):
        if kind == "reported":
            result = what[0]  # type: ignore[index]
            reported.setdefault(result.rung, []).append(result.number)
            continue
        assert isinstance(what, Decision)
        at_rung = reported[what.rung]
        gone.setdefault(what.rung, []).append(what.number)
        assert len(gone[what.rung]) <= -(-len(at_rung) // eta)
        # Whoever dominates it stands before it: fewer than the line are such, and each has gone.
        above = [n for n in at_rung if dominates(points[n], points[what.number])]
        assert len(above) < len(at_rung) // eta
        assert set(above) <= set(gone[what.rung])


@given(POINTS, st.integers(0, 99))
def test_whoever_is_stopped_at_the_end_can_read_why(
    points: list[tuple[float, ...]], seed: int
) -> None:
    rule = MoAsha()
    results, promotions = results_and_promotions(lived(rule, points, seed))
    rest = rule.rest()
    waiting = {(r.number, r.rung) for r in results} - {(d.number, d.rung) for d in promotions}
    assert {(d.number, d.rung) for d in rest} == waiting
    for decision in rest:
        peers = [r.number for r in results if r.rung == decision.rung]
        above = [n for n in peers if dominates(points[n], points[decision.number])]
        assert decision.action == "stop"
        assert decision.note.startswith(f"stopped at rung {decision.rung}: ")
        assert ("not dominated" in decision.note) == (not above)
        assert all(str(n) in decision.note for n in sorted(above)[:5])


@given(st.lists(st.tuples(VALUE, VALUE), min_size=3, max_size=20, unique=True), st.randoms())
def test_without_ties_the_order_of_arrival_does_not_matter(
    points: list[tuple[float, float]], shuffle: random.Random
) -> None:
    ranked = ranks(points)
    line = len(points) // 3
    best = {i for i in range(len(points)) if ranked[i] <= sorted(ranked)[line - 1]}
    if len(best) > line:
        return  # the line of going on runs through a tie
    for order in (list(range(len(points))), shuffle.sample(range(len(points)), len(points))):
        rule = MoAsha(3)
        for i in order:
            rule.reported(RungResult(i, 0, points[i]))
        gone = set()
        while len(gone) < line and (decision := rule.next()) is not None:
            rule.went_on(decision.number, 0)
            gone.add(decision.number)
        assert gone == best


def test_mo_asha_says_where_a_trial_stands() -> None:
    rule = MoAsha(3)
    [first] = rule.reported(RungResult(0, 0, (0.5, 3.0)))
    assert first.note == "waits at rung 0: 1st of 1, nobody goes on before there are 3"
    [second] = rule.reported(RungResult(1, 0, (0.6, 4.0)))
    assert second.note == "waits at rung 0: 2nd of 2, nobody goes on before there are 3"
    [third] = rule.reported(RungResult(2, 0, (0.4, 2.0)))
    assert third.action == "go_on"
    assert third.note == "goes on from rung 0: 1st of 3, the best goes on"
    assert rule.next() == third
    rule.went_on(2, 0)
    assert rule.next() is None
    assert [d.note for d in rule.rest()] == [
        "stopped at rung 0: dominated by trial 2",
        "stopped at rung 0: dominated by trials 0, 2",
    ]


def test_a_cheap_and_bad_network_does_not_go_on_only_because_nothing_is_cheaper() -> None:
    rule = MoAsha(3)
    front = [(0.95, 1.0), (0.30, 2.0), (0.25, 5.0), (0.28, 3.0), (0.24, 9.0), (0.26, 4.0)]
    for number, values in enumerate(front):
        rule.reported(RungResult(number, 0, values))
    gone = []
    while (decision := rule.next()) is not None:
        rule.went_on(decision.number, 0)
        gone.append(decision.number)
    assert gone[0] == 1
    assert 0 not in gone
    assert "not dominated, but" in next(d.note for d in rule.rest() if d.number == 0)


def test_the_higher_rung_goes_first_and_families_do_not_meet() -> None:
    rule = MoAsha(2)
    for number in range(4):
        rule.reported(RungResult(number, 0, (number / 10, 1.0), family="siamrpn"))
    for number in range(4, 6):
        rule.reported(RungResult(number, 0, (5.0 + number, 1.0), family="ostrack"))
    for number in (0, 1):
        rule.reported(RungResult(number, 1, (number / 10, 1.0), family="siamrpn"))
    order = []
    while (decision := rule.next()) is not None:
        rule.went_on(decision.number, decision.rung)
        order.append((decision.number, decision.rung))
    assert order == [(0, 1), (4, 0)]


def test_many_dominators_are_counted_and_not_listed() -> None:
    rule = MoAsha(3)
    for number in range(12):
        rule.reported(RungResult(number, 0, (number / 10, 1.0)))
    last = rule.rest()[-1]
    assert last.note == "stopped at rung 0: dominated by trials 0, 1, 2, 3, 4 and 6 more"


def test_median_compares_with_those_that_cost_no_more() -> None:
    rule = Median(peers=3)
    for number, values in enumerate([(0.5, 1.0), (0.4, 2.0), (0.3, 3.0)]):
        assert rule.reported(RungResult(number, 0, values))[0].action == "go_on"
    [cheap] = rule.reported(RungResult(3, 0, (0.9, 0.5)))
    assert cheap.action == "go_on"  # nothing undercuts it
    [costly] = rule.reported(RungResult(4, 0, (0.48, 9.0)))
    assert (costly.action, costly.note) == (
        "stop",
        "stopped at rung 0: less accurate than the median of the 4 that cost no more; "
        "trials 1, 2 did better",
    )
    [good] = rule.reported(RungResult(5, 0, (0.35, 9.0)))
    assert good.action == "go_on"
    assert [d.number for d in rule.rest()] == [0, 1, 2, 3, 5]


def test_without_early_stopping_everybody_goes_on_once() -> None:
    rule = make("none")
    for number in range(3):
        [decision] = rule.reported(RungResult(number, 0, (1.0, float(number))))
        assert decision.action == "go_on"
    gone = []
    while (decision_ := rule.next()) is not None:
        gone.append(decision_.number)
        rule.went_on(decision_.number, 0)
    assert gone == [0, 1, 2]


def test_a_result_at_the_next_rung_means_that_it_went_on() -> None:
    rule = MoAsha(2)
    for number in range(2):
        rule.reported(RungResult(number, 0, (number / 10,)))
    rule.reported(RungResult(0, 1, (0.0,)))
    assert rule.next() is None
    assert [(d.number, d.rung) for d in rule.rest()] == [(0, 1), (1, 0)]


def test_mistakes_are_said() -> None:
    with pytest.raises(EarlyStoppingError, match="no early stopping named 'asha'; choose one of"):
        make("asha")
    with pytest.raises(EarlyStoppingError, match="2 or more"):
        MoAsha(1)
    with pytest.raises(EarlyStoppingError, match=r"no way 'coin'.*volume, spread"):
        MoAsha(ties="coin")
    with pytest.raises(EarlyStoppingError, match="peers"):
        Median(peers=0)
    rule = MoAsha()
    rule.reported(RungResult(1, 0, (1.0, 2.0)))
    with pytest.raises(EarlyStoppingError, match="trial 1 reported twice at rung 0"):
        rule.reported(RungResult(1, 0, (1.0, 2.0)))
    with pytest.raises(EarlyStoppingError, match="trial 2 has 1 values"):
        rule.reported(RungResult(2, 0, (1.0,)))
    with pytest.raises(EarlyStoppingError, match="trial 9 has no result at rung 0"):
        rule.went_on(9, 0)
