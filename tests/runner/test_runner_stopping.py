from __future__ import annotations

import math

import pytest
from runner_support import make_spec

from batchbrew.runner.history import Evaluation, History
from batchbrew.runner.spec import Plateau, Stop
from batchbrew.runner.stopping import STOP_RULES, first_verdict, rules_for, updates_left


def history(values=(), metric="accuracy", target=None, **changes) -> History:
    found = History(metric, target, 203)
    for i, value in enumerate(values):
        found.evaluations.append(Evaluation(10 * i, 120 * i, float(i), {metric: value}))
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def outcome(found: History, **spec):
    verdict = first_verdict(rules_for(make_spec(**spec)), found)
    return verdict.outcome if verdict else None


@pytest.mark.parametrize("name", STOP_RULES.names())
def test_every_rule_lets_a_run_begin(name):
    stop = Stop(updates=9, epochs=2.0, seconds=3.0, plateau=Plateau(patience=2))
    rule = STOP_RULES.get(name).of(make_spec(stop=stop, target=0.7))
    assert rule.verdict(history()) is None
    assert rule.__doc__


@pytest.mark.parametrize(
    ("metric", "values", "target", "reached"),
    [
        ("accuracy", [0.1, 0.69999], 0.7, False),
        ("accuracy", [0.1, 0.7], 0.7, True),
        ("accuracy", [0.8, 0.1], 0.7, False),  # only the present parameters count
        ("loss", [2.0, 0.9], 0.9, True),
        ("loss", [2.0, 0.91], 0.9, False),
        ("loss", [math.nan], 0.9, False),
    ],
)
def test_target(metric, values, target, reached):
    spec = {"metric": metric, "target": target, "stop": Stop(updates=1000)}
    assert outcome(history(values, metric, target), **spec) == ("target" if reached else None)


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([0.5, 0.5, 0.5], True),
        ([0.5, 0.51, 0.51], False),  # 0.51 is within delta of the best, twice
        ([0.5, 0.51, 0.52, 0.53], True),  # small steps do not add up: each is compared with the last real best
        ([0.5, 0.6, 0.5, 0.55, 0.6], True),
        ([0.5, 0.6, 0.7, 0.8], False),
        ([0.5, math.nan, math.nan, math.nan], True),
    ],
)
def test_plateau_counts_evaluations_without_a_real_improvement(values, stops):
    stop = Stop(updates=1000, plateau=Plateau(patience=3 if len(values) > 3 else 2, delta=0.05))
    if values == [0.5, 0.51, 0.51]:
        stop = Stop(updates=1000, plateau=Plateau(patience=3, delta=0.05))
    assert outcome(history(values), stop=stop) == ("plateau" if stops else None)


def test_limits():
    assert outcome(history(update=9), stop=Stop(updates=10)) is None
    assert outcome(history(update=10), stop=Stop(updates=10)) == "updates"
    assert outcome(history(samples=405), stop=Stop(epochs=2.0)) is None
    assert outcome(history(samples=406), stop=Stop(epochs=2.0)) == "epochs"
    assert outcome(history(train_seconds=3.1), stop=Stop(seconds=3.0)) == "seconds"


def test_the_result_comes_before_the_budget_and_divergence_before_all():
    both = history([0.9], target=0.7, update=10)
    assert outcome(both, target=0.7, stop=Stop(updates=10)) == "target"
    both.diverged = True
    assert outcome(both, target=0.7, stop=Stop(updates=10)) == "diverged"


def test_limits_are_met_exactly():
    rules = list(rules_for(make_spec(stop=Stop(updates=10, epochs=1.0))).values())
    assert updates_left(rules, history(update=7, samples=84)) == 3
    assert updates_left(rules, history(update=7, samples=203 - 13)) == 2


def test_the_time_limit_is_neared_without_a_clock_in_the_loop():
    rules = list(rules_for(make_spec(stop=Stop(seconds=10.0))).values())
    assert updates_left(rules, history()) == 1
    assert updates_left(rules, history(update=100, train_seconds=1.0)) == 810
    assert updates_left(rules, history(update=999, train_seconds=9.99)) == 1


def test_best_and_first_at_target():
    found = history([0.1, 0.8, math.nan, 0.7], target=0.6)
    assert found.best()[0] == 0.8
    assert found.first_at_target().update == 10
    assert history([math.nan]).best() is None
