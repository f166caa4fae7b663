"""A slow float64 pointer network and critic in NumPy, written from the equations."""

from __future__ import annotations

import itertools

import numpy as np


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def lstm_cell(p, x, h, c, forget_bias=1.0):
    """One step for one sequence; gates in the order input, forget, output, candidate."""
    z = x @ p["w_x"] + h @ p["w_h"] + p["b"]
    i, f, o, g = np.split(z, 4)
    c = _sigmoid(f + forget_bias) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def attend(p, refs, query, visited):
    """u_i of eq. 2.8 for one query."""
    u = np.array([p["v"] @ np.tanh(r @ p["w_ref"] + query @ p["w_q"]) for r in refs])
    return np.where(visited, -np.inf, u)


def encode(p, x):
    h = c = np.zeros(p["encoder"]["w_h"].shape[0])
    refs = []
    for point in x:
        h, c = lstm_cell(p["encoder"], point @ p["embed"], h, c)
        refs.append(h)
    return np.array(refs), h, c


def pointer_probabilities(p, x, tour, glimpses=1, clip=10.0, temperature=1.0):
    """Distribution over the cities at each step of a tour, `[n, n]`, for one instance `[n, 2]`."""
    refs, h, c = encode(p, x)
    inputs, visited, rows = p["start"], np.zeros(len(x), bool), []
    for city in tour:
        h, c = lstm_cell(p["decoder"], inputs, h, c)
        query = h
        for _ in range(glimpses):
            query = _softmax(attend(p["glimpse"], refs, query, visited)) @ refs
        u = attend(p["pointer"], refs, query, visited)
        if clip is not None:
            u = np.where(visited, -np.inf, clip * np.tanh(np.where(visited, 0.0, u)))
        rows.append(_softmax(u / temperature))
        visited[city] = True
        inputs = x[city] @ p["embed"]
    return np.array(rows)


def critic_value(p, x, process_steps=3):
    refs, h, c = encode(p, x)
    nothing = np.zeros(len(x), bool)
    for _ in range(process_steps):
        glimpse = _softmax(attend(p["glimpse"], refs, h, nothing)) @ refs
        h, c = lstm_cell(p["process"], glimpse, h, c)
    head = p["head"]
    hidden = np.maximum(h @ head["w_1"] + head["b_1"], 0.0)
    return float((hidden @ head["w_2"] + head["b_2"])[0])


def tour_length(x, tour):
    """Eq. 2.1, edge by edge."""
    total = np.linalg.norm(x[tour[-1]] - x[tour[0]])
    for a, b in itertools.pairwise(tour):
        total += np.linalg.norm(x[a] - x[b])
    return total
