"""What a bench's curves mean: speed-up, FLOPs saved, who is ahead; for scores that rise and losses that fall."""

import pytest

from pipelines.bench.duels import duels
from pipelines.bench.metrics import lines, reach
from pipelines.bench.results import Cost, Metric, Outcome, Point, Results
from zoo import Size

SMALL, LARGE = Size(depth=1, width=8), Size(depth=2, width=8)
FLOPS = 10.0
"""Of one step, at every size."""


def outcome(start: str, scores: dict[int, float], seed: int = 0, size: Size = SMALL, **costs: Cost) -> Outcome:
    points = tuple(Point(step=step, flops=FLOPS * step, score=score) for step, score in scores.items())
    last = points[-1].score
    test = {"accuracy": last, "eval_loss": last}
    return Outcome(start=start, size=size, seed=seed, parameters=9, points=points, test=test, seconds=1.0, **costs)


def results(*outcomes: Outcome, reference: tuple[Outcome, ...] = (), metric: Metric = "accuracy") -> Results:
    return Results(
        name="pico",
        metric=metric,
        reference=reference or (outcome("scratch", {0: 0.1, 100: 0.5}),),
        outcomes=outcomes,
        skipped=(),
        ancestors=(),
        ours=("ours",),
        rates={},
        about={},
    )


def test_the_way_to_a_score_is_linear_between_points() -> None:
    curve = outcome("a", {0: 0.0, 10: 0.4, 20: 0.2, 30: 0.8})
    assert reach(curve, 0.2, "accuracy") == Cost(steps=5, flops=50.0)
    assert reach(curve, 0.5, "accuracy") == Cost(steps=25, flops=250.0)
    assert reach(curve, 0.9, "accuracy") is None
    assert reach(curve, 0.0, "accuracy") == Cost(steps=0, flops=0.0)


def test_a_loss_is_reached_from_above() -> None:
    curve = outcome("a", {0: 3.0, 10: 1.0})
    assert reach(curve, 2.0, "eval_loss") == Cost(steps=5, flops=50.0)
    assert reach(curve, 0.5, "eval_loss") is None


def test_speed_up_is_measured_to_scratchs_own_final_score() -> None:
    (line,) = lines(results(outcome("ours", {0: 0.3, 10: 0.7})))
    assert line.race.speed_up == pytest.approx(100 / 5)
    assert line.race.saved == pytest.approx(0.95)
    assert not line.race.at_once


def test_scratchs_own_time_ends_where_it_first_has_its_final_score() -> None:
    reference = (outcome("scratch", {0: 0.1, 50: 0.6, 100: 0.5}),)
    (line,) = lines(results(outcome("ours", {0: 0.3, 10: 0.7}), reference=reference))
    assert line.race.speed_up == pytest.approx(40 / 5)


def test_what_is_there_before_the_first_step_counts_as_one_step() -> None:
    (line,) = lines(results(outcome("ours", {0: 0.9, 10: 0.8})))
    assert line.race.speed_up == 100
    assert line.race.saved == pytest.approx(0.99)
    assert line.race.at_once


def test_own_cost_is_shared_by_the_sizes_of_the_bench_and_a_fit_is_not() -> None:
    once, fit = Cost(steps=9, flops=400.0), Cost(steps=1, flops=150.0)
    curve = {0: 0.3, 10: 0.7}
    reference = tuple(outcome("scratch", {0: 0.1, 100: 0.5}, size=size) for size in (SMALL, LARGE))
    (line,) = lines(results(outcome("ours", curve, once=once, per_size=fit), reference=reference))
    assert line.race.speed_up == pytest.approx(100 / (5 + 1))
    assert line.race.saved == pytest.approx(1 - (5 * FLOPS + 150) / 1000)
    spent = 5 * FLOPS + 150 + 400 / 2
    assert line.race.saved_amortised == pytest.approx(1 - spent / 1000)
    assert line.race.amortised == pytest.approx(1000 / spent)
    assert line.total == 10 * FLOPS + 150 + 400 / 2


@pytest.mark.parametrize(("reached", "seeds", "counts"), [(1, 3, False), (1, 2, False), (2, 3, True), (3, 4, True)])
def test_a_score_counts_as_reached_where_most_seeds_reach_it(reached: int, seeds: int, counts: bool) -> None:
    reference = tuple(outcome("scratch", {0: 0.1, 100: 0.5}, seed=seed) for seed in range(seeds))
    good, bad = {0: 0.3, 10: 0.7}, {0: 0.3, 10: 0.4}
    ours = [outcome("ours", good if seed < reached else bad, seed) for seed in range(seeds)]
    (line,) = lines(results(*ours, reference=reference))
    assert line.race.reached == reached
    assert line.race.speed_up == (pytest.approx(20) if counts else None)
    assert line.race.saved == (pytest.approx(0.95) if counts else None)


@pytest.mark.parametrize(("survivors", "speed_up"), [(1, None), (2, 20)])
def test_a_seed_that_diverged_has_not_reached_it(survivors: int, speed_up: float | None) -> None:
    reference = tuple(outcome("scratch", {0: 0.1, 100: 0.5}, seed=seed) for seed in range(3))
    curves = ({0: 0.3, 10: 0.7}, {0: 0.3, 5: 0.7})[:survivors]
    (line,) = lines(results(*(outcome("ours", c, s) for s, c in enumerate(curves)), reference=reference))
    assert (line.race.reached, line.race.seeds) == (survivors, 3)
    assert line.race.speed_up == (pytest.approx(speed_up) if speed_up else None)


def test_one_seed_that_is_there_at_once_makes_no_bound_of_the_median() -> None:
    reference = tuple(outcome("scratch", {0: 0.1, 100: 0.5}, seed=seed) for seed in range(3))
    curves = ({0: 0.6, 10: 0.7}, {0: 0.3, 10: 0.7}, {0: 0.3, 10: 0.7})
    (line,) = lines(results(*(outcome("ours", c, s) for s, c in enumerate(curves)), reference=reference))
    assert (line.race.at_once, line.race.speed_up) == (False, pytest.approx(20))


@pytest.mark.parametrize(("metric", "lead"), [("accuracy", 0.2), ("eval_loss", -0.2)])
def test_being_ahead_of_scratch_is_paired_by_seed(metric: Metric, lead: float) -> None:
    reference = tuple(outcome("scratch", {0: 0.5, 100: 0.5}, seed=seed) for seed in (0, 1))
    curves = {("scratch", 0): 0.1, ("scratch", 1): 0.5, ("ours", 0): 0.3, ("ours", 1): 0.7}
    outcomes = [outcome(start, {0: 0.5, 10: end}, seed) for (start, seed), end in curves.items()]
    line = lines(results(*outcomes, reference=reference, metric=metric))[1]
    assert line.ahead
    assert line.ahead.mean == pytest.approx(lead)
    assert line.ahead.std == pytest.approx(0.0, abs=1e-12)


def test_the_interval_of_a_mean_difference_is_students() -> None:
    reference = tuple(outcome("scratch", {0: 0.1, 100: 0.5}, seed=seed) for seed in range(3))
    short = [outcome("scratch", {0: 0.1, 10: 0.2}, seed) for seed in range(3)]
    ours = [outcome("ours", {0: 0.1, 10: end}, seed) for seed, end in enumerate((0.3, 0.4, 0.5))]
    line = lines(results(*short, *ours, reference=reference))[1]
    assert line.interval == pytest.approx((0.2 - 0.2484, 0.2 + 0.2484), abs=1e-4)  # 4.3027 * 0.1 / sqrt(3)


def test_without_a_training_from_scratch_there_is_no_difference_to_it() -> None:
    (line,) = lines(results(outcome("ours", {0: 0.3, 10: 0.7})))
    assert (line.ahead, line.interval) == (None, None)


def test_a_duel_is_held_at_equal_total_cost() -> None:
    dear = Cost(steps=1, flops=500.0)
    cheap, costly = outcome("ours", {0: 0.1, 10: 0.6}), outcome("ours-too", {0: 0.1, 10: 0.9}, once=dear)
    table = results(cheap, costly, outcome("theirs", {0: 0.1, 10: 0.7})).model_copy(
        update={"ours": ("ours", "ours-too")}
    )
    (duel,) = duels(table, lines(table))
    assert (duel.ours.start, duel.baseline.start, duel.equal, duel.won) == ("ours", "theirs", True, False)
    assert duel.lead
    assert duel.lead.mean == pytest.approx(-0.1)


def test_a_duel_says_where_all_of_ours_are_dearer() -> None:
    dear = Cost(steps=1, flops=500.0)
    table = results(outcome("ours", {0: 0.1, 10: 0.9}, once=dear), outcome("theirs", {0: 0.1, 10: 0.7}))
    (duel,) = duels(table, lines(table))
    assert (duel.ours.start, duel.equal, duel.won) == ("ours", False, True)


def test_in_a_duel_a_lower_loss_wins() -> None:
    reference = (outcome("scratch", {0: 3.0, 100: 1.0}),)
    curves = {"ours": 1.5, "theirs": 1.7, "others": 2.5}
    table = results(
        *(outcome(start, {0: 3.0, 10: end}) for start, end in curves.items()), reference=reference, metric="eval_loss"
    )
    (duel,) = duels(table, lines(table))
    assert (duel.baseline.start, duel.won) == ("theirs", True)
    assert duel.lead
    assert duel.lead.mean == pytest.approx(0.2)
