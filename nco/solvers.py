"""Solvers of the TSP that a learned policy is compared with, through well-kept libraries.

NumPy in, NumPy out; the libraries are imported when a solver is called. Every solver takes either
coordinates, whose distances are then Euclidean, or an explicit matrix of weights, and returns a
tour that starts at city 0; of the two directions of a symmetric tour it returns the one whose
second city has the smaller index. Up to three cities are solved by dynamic programming.

Libraries that count in whole numbers are given the weights in exact proportion where whole numbers
up to a stated largest have that (as the weights of most TSPLIB files do), and otherwise the weights
scaled so that the longest becomes that largest, then rounded. An edge that is longer than a known
tour, such as a forbidden one, must not make this coarse: where a solver finds a tour of less than
half the longest edge, longer edges are cut to that tour's length, which no better tour can use, and
it searches again. Lengths are always those of the weights themselves.

Source: the baselines of Pham 2021, section 2.5.2.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, Real

from nco import held_karp
from nco.whole import whole

Metaheuristic = Literal["simulated_annealing", "tabu_search", "guided_local_search"]
FirstSolution = Literal["christofides", "path_cheapest_arc", "savings"]

# fast-tsp stores distances in 16 bits.
_FAST_TSP_LARGEST = 2**16 - 1
_FAST_TSP_EXACT = 20  # cities up to which fast-tsp runs dynamic programming
_FAST_TSP_QUICK = 15  # cities up to which that takes a few milliseconds
_FAST_TSP_SEARCHES = 6
_OR_TOOLS_LARGEST = 10**7
_EXACT_LARGEST = 2**40
_FEW = 12  # cities up to which exact dynamic programming takes a few milliseconds


def distances(coords: Real[np.ndarray, "city dim"]) -> Float[np.ndarray, "city city"]:
    """Euclidean distances in float64, in the coordinates' unit."""
    coords = np.asarray(coords, np.float64)
    # By powers of two, which round nothing: of all, so that no difference is too large; and of each
    # pair, so that no square is too large or too small, however far another city lies.
    common = max(0, int(np.frexp(np.abs(coords).max(initial=0.0))[1]) - 1022)
    scaled = np.ldexp(coords, -common)
    apart = scaled[:, None] - scaled[None]
    own = np.frexp(np.abs(apart).max(axis=-1, initial=0.0))[1]
    return np.ldexp(np.linalg.norm(np.ldexp(apart, -own[..., None]), axis=-1), own + common)


def tour_length(weights: Real[np.ndarray, "city city"], tour: Int[np.ndarray, " city"]) -> float:
    """Sum of the weights along a closed tour; the weight from a city to itself counts as 0."""
    following = np.roll(tour, -1)
    return float(np.where(tour == following, 0.0, weights[tour, following]).sum())


def nearest_neighbour(
    coords: Real[np.ndarray, "city dim"] | None = None,
    *,
    matrix: Real[np.ndarray, "city city"] | None = None,
) -> Int[np.ndarray, " city"]:
    """From city 0 on, always to the nearest city that is left (networkx).

    Args:
        coords: the cities, in any unit.
        matrix: weights instead of coordinates; may be asymmetric.

    Raises:
        ValueError: if the input is not one instance of finite numbers (every solver does).
    """
    weights = _weights(coords, matrix)
    if len(weights) <= 3:
        return _canonical(held_karp.tour(weights), weights)
    networkx = _networkx()
    graph = _graph(weights, networkx)
    return _canonical(networkx.approximation.greedy_tsp(graph, source=0)[:-1], weights)


def christofides(
    coords: Real[np.ndarray, "city dim"] | None = None,
    *,
    matrix: Real[np.ndarray, "city city"] | None = None,
) -> Int[np.ndarray, " city"]:
    """Christofides' algorithm (networkx): minimum spanning tree, matching, shortcuts.

    At most 1.5 times the optimum where the weights obey the triangle inequality; for a matrix that
    does not, a tour without that guarantee.

    Args:
        coords: the cities, in any unit.
        matrix: symmetric weights instead of coordinates.

    >>> import numpy as np
    >>> christofides(np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]))
    array([0, 2, 1, 3], dtype=int32)
    """
    weights = _symmetric(_weights(coords, matrix), "christofides")
    if len(weights) <= 3:
        return _canonical(held_karp.tour(weights), weights)
    networkx = _networkx()
    tour = networkx.approximation.christofides(_graph(weights, networkx))
    return _canonical(tour[:-1], weights)


def or_tools(
    coords: Real[np.ndarray, "city dim"] | None = None,
    *,
    matrix: Real[np.ndarray, "city city"] | None = None,
    metaheuristic: Metaheuristic | None = None,
    time_limit_s: float | None = None,
    first_solution: FirstSolution = "christofides",
) -> Int[np.ndarray, " city"]:
    """OR-Tools' routing solver: a first solution, then local search (2-opt, Or-opt, Lin-Kernighan).

    Without a metaheuristic it stops at a local minimum, as in the thesis; with one it leaves local
    minima and runs until its time is up. Weights are whole numbers of at most 10^7 (see above).

    Args:
        coords: the cities, in any unit.
        matrix: weights instead of coordinates; may be asymmetric (then the first solution cannot be
            "christofides").
        metaheuristic: how to leave a local minimum.
        time_limit_s: wall-clock seconds of a search; required with a metaheuristic.
        first_solution: where the search starts.

    Raises:
        ValueError: for an unknown option, or a metaheuristic without a time limit.
        RuntimeError: if the time limit passed before there was a first solution.
    """
    _check_choice("metaheuristic", metaheuristic, (None, *get_args(Metaheuristic)))
    _check_choice("first_solution", first_solution, get_args(FirstSolution))
    if metaheuristic is not None and time_limit_s is None:
        raise ValueError(f"time_limit_s: {metaheuristic} needs a limit in seconds, got None")
    if time_limit_s is not None and not time_limit_s > 0:
        raise ValueError(f"time_limit_s: expected a positive number or None, got {time_limit_s}")
    weights = _weights(coords, matrix)
    if first_solution == "christofides":
        weights = _symmetric(weights, "or_tools(first_solution='christofides')")
    if len(weights) <= 3:
        return _canonical(held_karp.tour(weights), weights)
    _require("ortools")
    from ortools.constraint_solver import pywrapcp, routing_enums_pb2

    parameters = pywrapcp.DefaultRoutingSearchParameters()
    parameters.first_solution_strategy = getattr(
        routing_enums_pb2.FirstSolutionStrategy, first_solution.upper()
    )
    parameters.local_search_metaheuristic = getattr(
        routing_enums_pb2.LocalSearchMetaheuristic, (metaheuristic or "greedy_descent").upper()
    )
    if time_limit_s is not None:
        parameters.time_limit.FromMilliseconds(max(1, round(1000 * time_limit_s)))

    def search(counted: np.ndarray) -> list[int]:
        manager = pywrapcp.RoutingIndexManager(len(counted), 1, 0)  # one vehicle, from city 0
        model = pywrapcp.RoutingModel(manager)
        transit = model.RegisterTransitMatrix(counted.tolist())
        model.SetArcCostEvaluatorOfAllVehicles(transit)
        solution = model.SolveWithParameters(parameters)
        if solution is None:
            raise RuntimeError(f"OR-Tools found no solution (time_limit_s={time_limit_s})")
        tour, index = [], model.Start(0)
        while not model.IsEnd(index):
            tour.append(manager.IndexToNode(index))
            index = solution.Value(model.NextVar(index))
        return tour

    return _in_whole_numbers(weights, _OR_TOOLS_LARGEST, search)


def near_optimal(
    coords: Real[np.ndarray, "city dim"] | None = None,
    *,
    matrix: Real[np.ndarray, "city city"] | None = None,
    seconds: float | None = None,
    clock: Callable[[], float] | None = None,
) -> Int[np.ndarray, " city"]:
    """A tour at or very near the optimum: fast-tsp's Or-opt search with perturbations.

    A search runs for a wall-clock time, and on a loaded machine may get little done in it. So it is
    repeated until two searches agree on the shortest length, six times at most, from the third on
    with twice the time of the one before; still, two calls may differ. Searches that did next to
    nothing agree too, on the tour that they start from: `clock` tells them. Up to 12 cities the
    tour is optimal; up to 15, and up to 20 of a matrix, up to rounding, by dynamic programming.
    Weights are whole numbers of at most 65,535 (see above): where these are rounded, by about 1e-5
    of a tour's length.

    Args:
        coords: the cities, in any unit.
        matrix: symmetric weights instead of coordinates.
        seconds: time of the first two searches; by default 0.5 ms a city, and at least 10 ms.
        clock: seconds that the thread has computed, such as `time.thread_time`; an agreement then
            counts if the search computed for half of the first one's time.
    """
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds: expected a positive number or None, got {seconds}")
    weights = _symmetric(_weights(coords, matrix), "near_optimal")
    cities = len(weights)
    if cities <= 3:
        return _canonical(held_karp.tour(weights), weights)
    _require("fast_tsp")
    import fast_tsp

    if cities <= _FEW:
        return _canonical(held_karp.tour(weights), weights)
    budget = max(0.01, 0.0005 * cities) if seconds is None else seconds

    def search(counted: np.ndarray) -> list[int]:
        if matrix is None and _FAST_TSP_QUICK < cities <= _FAST_TSP_EXACT:
            # Dynamic programming over 20 cities takes 0.1 s, the search 0.02 s. Copies of the last
            # city make it choose the search; leaving them out again cannot lengthen a Euclidean
            # tour.
            counted = np.pad(counted, (0, _FAST_TSP_EXACT + 1 - cities), mode="edge")
        searches = 1 if len(counted) <= _FAST_TSP_EXACT else _FAST_TSP_SEARCHES
        best, shortest = [0], np.inf
        for number in range(searches):
            start = 0.0 if clock is None else clock()
            tour = fast_tsp.find_tour(counted, duration_seconds=budget * 2 ** max(0, number - 1))
            idle = clock is not None and clock() - start < 0.5 * budget
            length = fast_tsp.compute_cost(tour, counted)
            agreed = length == shortest and not idle
            if length < shortest:
                best, shortest = tour, length
            if agreed:
                break
        return [city for city in best if city < cities]

    return _in_whole_numbers(weights, _FAST_TSP_LARGEST, search)


def exact(
    coords: Real[np.ndarray, "city dim"] | None = None,
    *,
    matrix: Real[np.ndarray, "city city"] | None = None,
    time_limit_s: float = 60.0,
) -> Int[np.ndarray, " city"]:
    """An optimal tour, proven by OR-Tools' CP-SAT with a circuit constraint; to about 50 cities.

    Weights are whole numbers of at most 2^40 (see above). Where these are in exact proportion, the
    tour is optimal; where they are rounded, no tour is shorter by more than 4e-12 of its length a
    city. Up to 12 cities it is optimal whatever the weights, by dynamic programming in exact
    arithmetic. 20 cities take some 0.05 s, 50 take 0.3 to 30 s.

    Args:
        coords: the cities, in any unit.
        matrix: weights instead of coordinates; may be asymmetric.
        time_limit_s: wall-clock seconds of a proof.

    Raises:
        TimeoutError: if a proof was not complete within the limit.
    """
    weights = _weights(coords, matrix)
    cities = len(weights)
    if cities <= 3:
        return _canonical(held_karp.tour(weights), weights)
    _require("ortools")
    from ortools.sat.python import cp_model

    if cities <= _FEW:
        return _canonical(held_karp.tour(weights), weights)

    def prove(counted: np.ndarray) -> list[int]:
        model = cp_model.CpModel()
        arcs = {(i, j): model.new_bool_var("") for i, j in itertools.permutations(range(cities), 2)}
        model.add_circuit([(i, j, used) for (i, j), used in arcs.items()])
        model.minimize(sum(int(counted[arc]) * used for arc, used in arcs.items()))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1  # deterministic
        solver.parameters.linearization_level = 2  # with subtour cuts: 100 times faster here
        solver.parameters.max_time_in_seconds = time_limit_s
        if solver.solve(model) != cp_model.OPTIMAL:
            raise TimeoutError(f"no proof of optimality for {cities} cities in {time_limit_s} s")
        following = {i: j for (i, j), used in arcs.items() if solver.value(used)}
        tour = [0]
        while len(tour) < cities:
            tour.append(following[tour[-1]])
        return tour

    return _in_whole_numbers(weights, _EXACT_LARGEST, prove)


def _weights(coords: np.ndarray | None, matrix: np.ndarray | None) -> np.ndarray:
    """The float64 matrix of weights of one instance, its diagonal zero."""
    if (coords is None) == (matrix is None):
        raise ValueError("expected exactly one of coords and matrix")
    if matrix is None:
        coords = np.asarray(coords, np.float64)
        if coords.ndim != 2 or 0 in coords.shape:
            raise ValueError(f"coords: expected shape [city, dim], got {list(coords.shape)}")
        if not np.isfinite(coords).all():
            raise ValueError("coords: expected finite numbers, got nan or inf")
        matrix = distances(coords)
    weights = np.array(matrix, np.float64)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or weights.size == 0:
        raise ValueError(f"matrix: expected shape [city, city], got {list(weights.shape)}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("matrix: expected finite weights of at least 0")
    np.fill_diagonal(weights, 0.0)
    with np.errstate(over="ignore"):
        if not np.isfinite(weights.sum()):
            raise ValueError("matrix: expected weights whose sum is a finite float64")
    if 0 < weights.max() < 1e-200:  # a tour is the same by any factor, and these divide badly
        weights = np.ldexp(weights, 600)
    return weights


def _symmetric(weights: np.ndarray, solver: str) -> np.ndarray:
    if not np.array_equal(weights, weights.T):
        raise ValueError(f"matrix: {solver} needs symmetric weights")
    return weights


def _in_whole_numbers(
    weights: np.ndarray, largest: int, solve: Callable[[np.ndarray], Sequence[int]]
) -> np.ndarray:
    """The shortest tour found by a solver that counts in whole numbers of at most `largest`.

    It solves again while its tour is less than half as long as the longest edge: with longer edges
    cut to the tour's length, the others are rounded less. Cut or not, a tour with such an edge is
    not shorter than the known one.
    """
    best: Sequence[int] = ()
    shortest, longest = np.inf, weights.max()
    while True:
        counted, exactly = _counted(np.minimum(weights, longest), largest)
        tour = solve(counted)
        length = tour_length(weights, np.asarray(tour))
        if length < shortest:
            best, shortest = tour, length
        if exactly or 2.0 * shortest >= longest:
            return _canonical(best, weights)
        longest = shortest


def _counted(weights: np.ndarray, largest: int) -> tuple[np.ndarray, bool]:
    """Weights as int64 of at most `largest`, and whether they are in exact proportion."""
    if whole(weights[0])[0].max() <= largest:  # or the others cannot be
        counted, _ = whole(weights)
        if counted.max() <= largest:
            return counted.astype(np.int64), True
    return np.round(weights * (largest / weights.max())).astype(np.int64), False


def _canonical(tour: Sequence[int], weights: np.ndarray) -> np.ndarray:
    """The tour from city 0 on and, where direction is free, towards the smaller neighbour."""
    cities = np.asarray(tour, np.int32)
    cities = np.roll(cities, -int(np.flatnonzero(cities == 0)[0]))
    if len(cities) > 2 and cities[1] > cities[-1] and np.array_equal(weights, weights.T):
        cities[1:] = cities[:0:-1].copy()
    return cities


def _graph(weights: np.ndarray, networkx: ModuleType) -> object:
    # Edge by edge: from_numpy_array would drop the edges of weight 0 between coincident cities.
    symmetric = np.array_equal(weights, weights.T)
    pairs = itertools.combinations if symmetric else itertools.permutations
    graph = networkx.Graph() if symmetric else networkx.DiGraph()
    graph.add_weighted_edges_from((i, j, weights[i, j]) for i, j in pairs(range(len(weights)), 2))
    return graph


def _networkx() -> ModuleType:
    _require("networkx")
    import networkx

    return networkx


def _require(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        package = module.replace("_", "-")
        raise ImportError(f"this solver needs {package}: pip install {package}") from error


def _check_choice(name: str, value: object, choices: tuple) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {choices}, got {value!r}")
