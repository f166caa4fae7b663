"""Solvers against enumeration, against one another, and on degenerate instances."""

import functools
import inspect
import itertools
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.nco.solver_pool import solve_many
from nco import solvers

QUICK = [
    solvers.nearest_neighbour,
    solvers.christofides,
    solvers.or_tools,
    functools.partial(solvers.near_optimal, seconds=0.005),
    solvers.exact,
]
NAMES = ["nearest_neighbour", "christofides", "or_tools", "near_optimal", "exact"]
every_solver = pytest.mark.parametrize("solver", QUICK, ids=NAMES)


def uniform(seed, *shape):
    return np.random.default_rng(seed).uniform(size=(*shape, 2))


def brute_force(weights):
    cities = len(weights)
    tours = np.array([(0, *rest) for rest in itertools.permutations(range(1, cities))])
    lengths = weights[tours, np.roll(tours, -1, axis=1)].sum(axis=1)
    return lengths.min()


def unchecked(function, *args, **kwargs):
    """A call without the tests' checks of annotations, as users make it."""
    return inspect.unwrap(function)(*args, **kwargs)


def length(coords, tour):
    steps = coords[tour] - coords[np.roll(tour, -1)]
    return np.sqrt((steps**2).sum(axis=-1)).sum()


@every_solver
@pytest.mark.parametrize("cities", [1, 2, 3, 4, 5, 9])
def test_tours_are_permutations_from_city_0(solver, cities):
    tour = solver(uniform(cities, cities))
    assert tour.dtype == np.int32
    assert tour[0] == 0
    assert sorted(tour.tolist()) == list(range(cities))
    assert cities < 3 or tour[1] <= tour[-1]


@every_solver
@pytest.mark.parametrize(
    "coords",
    [
        np.zeros((6, 2)),
        np.repeat([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]], 3, axis=0),
        np.stack([np.arange(8.0), np.zeros(8)], axis=1),
        np.array([[5, 5], [5, 5], [5, 5]]),
    ],
    ids=["coincident", "duplicates", "collinear", "integers"],
)
def test_degenerate_points(solver, coords):
    tour = solver(coords)
    assert sorted(tour.tolist()) == list(range(len(coords)))
    span = np.ptp(coords, axis=0)
    if solver is not solvers.nearest_neighbour and (span[0] == 0 or span[1] == 0):
        assert length(coords, tour) == pytest.approx(2 * span.sum())


@pytest.mark.parametrize("cities", [3, 4, 6, 8])
def test_exact_and_near_optimal_equal_enumeration(cities):
    coords = uniform(10 + cities, cities)
    best = brute_force(solvers.distances(coords))
    assert length(coords, solvers.exact(coords)) == pytest.approx(best, abs=1e-6)
    assert length(coords, solvers.near_optimal(coords)) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("cities", [12, 17, 20, 25])
def test_near_optimal_reaches_the_proven_optimum(cities):
    coords = uniform(cities, cities)
    optimum = length(coords, solvers.exact(coords))
    assert length(coords, solvers.near_optimal(coords)) == pytest.approx(optimum, abs=2e-4)


@pytest.mark.parametrize(("share", "searches"), [(1.0, 2), (0.1, 6)])
def test_near_optimal_goes_on_while_its_searches_get_no_processor(monkeypatch, share, searches):
    """On a loaded machine a search gets little done, and returns the tour that it starts from."""
    fast_tsp = pytest.importorskip("fast_tsp")
    coords = np.random.default_rng(0).uniform(size=(30, 2))
    best = solvers.near_optimal(coords)
    clock, given = [0.0], []

    def find(whole, duration_seconds):
        given.append(duration_seconds)
        clock[0] += share * duration_seconds
        return (best if share * duration_seconds > 0.005 else np.arange(30)).tolist()

    monkeypatch.setattr(fast_tsp, "find_tour", find)
    found = solvers.near_optimal(coords, seconds=0.01, clock=lambda: clock[0])
    np.testing.assert_array_equal(found, best)
    assert given == pytest.approx([0.01, 0.01, 0.02, 0.04, 0.08, 0.16][:searches])


def test_solvers_rank_as_expected():
    instances = uniform(0, 10, 20)
    runs = [solve_many(solver, instances, processes=1).lengths for solver in QUICK]
    nearest, christofides, local, near, exact = runs
    assert (exact <= np.minimum.reduce(runs) + 1e-6).all()
    assert (christofides <= 1.5 * exact).all()
    assert near.mean() < 1.0005 * exact.mean()
    assert exact.mean() < local.mean() < christofides.mean() < nearest.mean()


@pytest.mark.parametrize("name", ["simulated_annealing", "tabu_search", "guided_local_search"])
def test_metaheuristics_go_on_until_their_time_is_up(name):
    # OR-Tools' annealing and tabu search often stay where they are; guided local search does not.
    instances = uniform(3, 4, 50)
    local = solve_many(solvers.or_tools, instances, processes=1)
    longer = functools.partial(solvers.or_tools, metaheuristic=name, time_limit_s=0.3)
    found = solve_many(longer, instances, processes=1)
    bound = 0.999 if name == "guided_local_search" else 1.01
    assert found.lengths.sum() < bound * local.lengths.sum()
    assert (found.seconds > 0.25).all()


@pytest.mark.parametrize("start", ["christofides", "path_cheapest_arc", "savings"])
def test_first_solutions(start):
    coords = uniform(4, 15)
    tour = solvers.or_tools(coords, first_solution=start)
    assert length(coords, tour) < 1.2 * length(coords, solvers.exact(coords))


@pytest.mark.parametrize("scale", [1e-7, 1e7])
@every_solver
def test_scale_and_offset_do_not_matter(solver, scale):
    coords = uniform(5, 12)
    moved = scale * (coords + 3.0)
    found, expected = length(coords, solver(moved)), length(coords, solver(coords))
    assert found == pytest.approx(expected, abs=1e-4)


@every_solver
def test_matrix_of_distances_gives_the_same_length(solver):
    coords = uniform(6, 11)
    tour = solver(matrix=solvers.distances(coords))
    assert length(coords, tour) == pytest.approx(length(coords, solver(coords)), abs=1e-4)


def test_whole_weights_are_solved_without_rounding():
    # The best tour of these weights wins by 1 in 65,535.
    weights = np.full((5, 5), 65_535.0)
    for a, b in [(0, 2), (2, 4), (4, 1), (1, 3)]:
        weights[a, b] = weights[b, a] = 65_534.0
    for solver in (solvers.exact, solvers.near_optimal, solvers.or_tools):
        tour = solver(matrix=weights)
        assert solvers.tour_length(weights, tour) == 4 * 65_534 + 65_535


def exact_length(weights, tour):
    return sum(Fraction(weights[a, b]) for a, b in zip(tour, np.roll(tour, -1), strict=True))


# Forbidden edges, halves, float32 and decimal fractions, and no edge at all.
WEIGHT = st.sampled_from([0.0, 1e-300, 0.1, 0.2, 0.3, 1e9, 1e16, 1e300, float(np.float32(0.1))])


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(WEIGHT | st.integers(1, 99).map(float) | st.floats(0, 1), min_size=30),
    symmetric=st.booleans(),
)
def test_few_cities_are_solved_exactly_whatever_the_weights(numbers, symmetric):
    cities = 6
    weights = np.zeros((cities, cities))
    weights[~np.eye(cities, dtype=bool)] = numbers[:30]
    weights = np.triu(weights) + np.triu(weights).T if symmetric else weights
    tours = [(0, *rest) for rest in itertools.permutations(range(1, cities))]
    best = min(exact_length(weights, tour) for tour in tours)
    for solver in (solvers.exact, solvers.near_optimal) if symmetric else (solvers.exact,):
        tour = solver(matrix=weights)
        assert sorted(tour) == list(range(cities))
        assert exact_length(weights, tour) == best


def test_sums_of_large_weights_do_not_overflow():
    weights = np.ones((12, 12)) - np.eye(12)
    weights[3, 7] = weights[7, 3] = 1.5 * 2.0**59
    assert solvers.tour_length(weights, solvers.exact(matrix=weights)) == 12.0


@pytest.mark.parametrize("forbidden", [9_999_999, 1e9, 1e11, 1e300])
@pytest.mark.parametrize("cities", [8, 14, 22])
def test_forbidden_edges_do_not_make_the_others_coarse(cities, forbidden):
    rng = np.random.default_rng(cities)
    weights = rng.integers(10, 100, (cities, cities)).astype(float)
    weights = np.triu(weights, 1) + np.triu(weights, 1).T
    optimum = solvers.tour_length(weights, solvers.exact(matrix=weights))
    local = solvers.tour_length(weights, solvers.or_tools(matrix=weights))
    near = solvers.tour_length(weights, solvers.near_optimal(matrix=weights, seconds=0.05))
    tour = solvers.exact(matrix=weights)
    unused = np.ones_like(weights, bool)
    unused[tour, np.roll(tour, -1)] = unused[np.roll(tour, -1), tour] = False
    barred = np.where(unused & (weights > 80), forbidden, weights)  # the optimum stays
    np.fill_diagonal(barred, 0.0)
    assert (barred == forbidden).any()
    found = {
        solver.__name__: solvers.tour_length(barred, solver(matrix=barred))
        for solver in (solvers.exact, solvers.or_tools, solvers.near_optimal)
    }
    assert found["exact"] == optimum
    assert found["near_optimal"] == near == optimum
    assert found["or_tools"] <= 1.2 * local


def test_many_cities_are_proven_as_finely_as_promised():
    """Two tours whose lengths differ by 1e-9 of them."""
    weights = np.full((14, 14), 2.0 / 3)
    tour = np.random.default_rng(0).permutation(14)
    for a, b in zip(tour, np.roll(tour, -1), strict=True):
        weights[a, b] = weights[b, a] = 2.0 / 3 - 1e-9
    found = solvers.exact(matrix=weights)
    assert solvers.tour_length(weights, found) == solvers.tour_length(weights, tour)


@every_solver
@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-3, 1e160, 1e305])
def test_coordinates_of_any_magnitude(solver, scale):
    coords = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.5, 1.2]])
    tour = solver(coords * scale)
    assert tour.tolist() == [0, 2, 1, 4, 3]


@pytest.mark.parametrize("far", [1e200, 1e308])
def test_a_city_far_away_leaves_the_others_their_distances(far):
    near = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.5, 1.2]]) * 1e-100
    found = solvers.distances(np.append(near, [[-far, 0.0]], axis=0))
    np.testing.assert_array_equal(found[:-1, :-1], solvers.distances(near))
    assert (found[-1, :-1] == far).all()
    assert found[1, 2] == 1e-100


def test_asymmetric_weights():
    weights = np.random.default_rng(7).integers(1, 100, (7, 7)).astype(float)
    np.fill_diagonal(weights, 9999)  # as TSPLIB writes it
    best = brute_force(weights)
    assert solvers.tour_length(weights, solvers.exact(matrix=weights)) == best
    found = solvers.or_tools(matrix=weights, first_solution="path_cheapest_arc")
    assert solvers.tour_length(weights, found) < 1.5 * best
    nearest = solvers.nearest_neighbour(matrix=weights)
    assert nearest[1] == np.argmin(weights[0])
    three = weights[:3, :3]
    tour = solvers.exact(matrix=three)
    assert solvers.tour_length(three, tour) == brute_force(three)
    for solver in (solvers.christofides, solvers.near_optimal, solvers.or_tools):
        with pytest.raises(ValueError, match="symmetric"):
            solver(matrix=weights)


def test_the_diagonal_plays_no_part():
    coords = uniform(13, 30)
    weights = solvers.distances(coords) + np.diag(np.full(30, 1e9))
    tour = solvers.near_optimal(matrix=weights)
    assert length(coords, tour) < 1.02 * length(coords, solvers.near_optimal(coords))


def test_tour_length_of_one_city_ignores_the_diagonal():
    assert solvers.tour_length(np.array([[9999.0]]), np.array([0])) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unchecked(solvers.exact), "exactly one"),
        (
            lambda: unchecked(solvers.exact, np.zeros((2, 2)), matrix=np.zeros((2, 2))),
            "exactly one",
        ),
        (lambda: unchecked(solvers.exact, np.zeros((0, 2))), r"coords: expected shape .* \[0, 2\]"),
        (lambda: unchecked(solvers.exact, np.zeros(4)), r"coords: expected shape .* \[4\]"),
        (lambda: unchecked(solvers.exact, np.full((4, 2), np.inf)), "finite"),
        (
            lambda: unchecked(solvers.exact, matrix=np.zeros((3, 4))),
            r"matrix: expected shape .* \[3, 4\]",
        ),
        (lambda: unchecked(solvers.exact, matrix=np.full((4, 4), -1.0)), "at least 0"),
        (lambda: unchecked(solvers.exact, matrix=np.full((4, 4), 1e308)), "sum is a finite"),
        (lambda: unchecked(solvers.exact, matrix=np.full((4, 4), np.nan)), "finite weights"),
        (
            lambda: unchecked(solvers.or_tools, np.zeros((4, 2)), metaheuristic="tabu_search"),
            "time_limit_s",
        ),
        (
            lambda: unchecked(solvers.or_tools, np.zeros((4, 2)), metaheuristic="luck"),
            "metaheuristic.*'luck'",
        ),
        (
            lambda: unchecked(solvers.or_tools, np.zeros((4, 2)), first_solution="x"),
            "first_solution.*'x'",
        ),
        (lambda: unchecked(solvers.or_tools, np.zeros((4, 2)), time_limit_s=0), "time_limit_s"),
        (lambda: unchecked(solvers.near_optimal, np.zeros((4, 2)), seconds=-1), "seconds"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_proof_in_time_is_an_error():
    with pytest.raises(TimeoutError, match=r"60 cities in 0\.01 s"):
        solvers.exact(uniform(11, 60), time_limit_s=0.01)


@pytest.mark.parametrize(
    ("solver", "module", "package"),
    [
        (solvers.christofides, "networkx", "networkx"),
        (solvers.or_tools, "ortools", "ortools"),
        (solvers.near_optimal, "fast_tsp", "fast-tsp"),
        (solvers.exact, "ortools", "ortools"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, solver, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install {package}$"):
        solver(uniform(12, 5))


@pytest.mark.slow
@pytest.mark.parametrize(("cities", "optimum"), [(20, 3.84481), (50, 5.68684)])
def test_public_test_set(cities, optimum):
    """The field's test instances (numpy seed 1234); optima of the first 1,000 by LKH-3."""
    instances = np.random.RandomState(1234).uniform(size=(10_000, cities, 2))[:1000]
    found = solve_many(solvers.near_optimal, instances)
    assert found.lengths.mean() == pytest.approx(optimum, rel=1e-4)
