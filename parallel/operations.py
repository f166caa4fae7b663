"""Rules for the cost of one operation of a jaxpr: FLOPs, transcendental functions, bytes.

`parallel.jaxpr` adds them up over a program; the conventions are stated there. Operations that hold
programs of their own (jit, scan, cond, ...) have no rule: the walker goes into them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from jax.extend import core

Equation = Any  # jax.extend.core.JaxprEqn, whose abstract values have no typed attributes


def primitive_name(equation: Equation) -> str:
    """The primitive's name, in one spelling: some have a hyphen (`scatter-add`)."""
    return equation.primitive.name.replace("-", "_")


def size(aval: Any) -> int:
    """Number of elements of an abstract value; 1 for a token."""
    return math.prod(getattr(aval, "shape", ()))


def nbytes(aval: Any) -> int:
    """Bytes of an abstract value; 0 for a token."""
    if not hasattr(aval, "dtype"):  # tokens
        return 0
    return size(aval) * aval.dtype.itemsize


def traffic(equation: Equation) -> tuple[int, int]:
    """Bytes read and written by one run."""
    name = primitive_name(equation)
    # Literals are part of the code.
    operands = [0 if isinstance(var, core.Literal) else nbytes(var.aval) for var in equation.invars]
    results = sum(nbytes(var.aval) for var in equation.outvars)
    if name in _FREE:
        return 0, 0
    if name in ("slice", "dynamic_slice", "gather"):
        return results + sum(operands[1:]), results
    if name == "dynamic_update_slice":
        return sum(operands[1:]), operands[1]
    if name.startswith("scatter"):
        old_values = 0 if name == "scatter" else operands[2]
        return sum(operands[1:]) + old_values, operands[2]
    return sum(operands), results


def work(equation: Equation) -> tuple[int, int] | None:
    """FLOPs and transcendentals of one run; None if there is no rule."""
    name = primitive_name(equation)
    if name in _MOVEMENT or name in _FREE:
        return 0, 0
    elements = size(equation.outvars[0].aval)
    if name in _ELEMENTWISE:
        return elements, 0
    if name in _TRANSCENDENTAL:
        return 0, elements
    if name in _RULES:
        return _RULES[name](equation), 0
    return None


def _dot(equation: Equation) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 2 * depth * size(equation.outvars[0].aval)


def _convolution(equation: Equation) -> int:
    params = equation.params
    numbers = params["dimension_numbers"]
    image, kernel = (var.aval.shape for var in equation.invars)
    output = equation.outvars[0].aval.shape
    products = math.prod(
        kernel[axis] for axis in numbers.rhs_spec[:2]
    )  # feature pairs of one group
    products *= image[numbers.lhs_spec[0]] // params["batch_group_count"]
    for axis, (image_axis, kernel_axis, output_axis) in enumerate(
        zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    ):
        start = np.arange(output[output_axis]) * params["window_strides"][axis]
        tap = np.arange(kernel[kernel_axis]) * params["rhs_dilation"][axis]
        place = start[:, None] + tap[None, :] - params["padding"][axis][0]
        spread = params["lhs_dilation"][axis]
        inside = (place >= 0) & (place <= (image[image_axis] - 1) * spread) & (place % spread == 0)
        products *= int(inside.sum())
    return 2 * products


def _reduction(equation: Equation) -> int:
    steps = size(equation.invars[0].aval) - size(equation.outvars[0].aval)
    if "jaxpr" in equation.params:  # `reduce` combines with a body of its own
        steps *= len(equation.params["jaxpr"].eqns)
    return steps


def _window(equation: Equation) -> int:
    dimensions = equation.params.get("window_dimensions", ())
    return size(equation.outvars[0].aval) * (math.prod(dimensions) - 1)


def _pooling_gradient(equation: Equation) -> int:
    # For each window, as many comparisons as it has other elements, and one addition.
    return size(equation.invars[0].aval) * math.prod(equation.params["window_dimensions"])


def _updates(equation: Equation) -> int:
    return size(equation.invars[2].aval)


def _power(equation: Equation) -> int:
    # By repeated squaring; a negative power has a division too.
    exponent = equation.params["y"]
    steps = abs(exponent).bit_length() + abs(exponent).bit_count() - 2
    return size(equation.outvars[0].aval) * (max(steps, 0) + (exponent < 0))


def _sort(equation: Equation) -> int:
    operand = equation.invars[0].aval
    length = operand.shape[equation.params.get("dimension", -1)]
    return size(operand) * math.ceil(math.log2(max(length, 1)))


def _fourier(equation: Equation) -> int:
    points = max(size(equation.invars[0].aval), size(equation.outvars[0].aval))
    return math.ceil(5 * points * math.log2(max(math.prod(equation.params["fft_lengths"]), 1)))


def _random_bits(equation: Equation) -> int:
    # threefry-2x32 for each word: 20 rounds of add, two shifts, or and xor; 5 key injections of two
    # additions; two additions first; one xor of the two halves.
    return 113 * size(equation.outvars[0].aval)


def _new_keys(equation: Equation) -> int:
    return 112 * size(equation.outvars[0].aval)


def _triangular_solve(equation: Equation) -> int:
    matrix, right = (var.aval.shape for var in equation.invars)
    return math.prod(right) * matrix[-1]


def _cubic(numerator: int, denominator: int) -> Callable[[Equation], int]:
    def rule(equation: Equation) -> int:
        *batch, rows, columns = equation.invars[0].aval.shape
        return math.prod(batch) * rows * columns * min(rows, columns) * numerator // denominator

    return rule


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENTWISE = _names(
    """
    abs add add_any and ceil clamp clz conj div eq eq_to floor ge gt is_finite le le_to lt lt_to max
    min mul ne neg nextafter not or population_count rem round select_n shift_left
    shift_right_arithmetic shift_right_logical sign square sub xor
    """
)
_TRANSCENDENTAL = _names(
    """
    acos acosh asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt cos cosh digamma erf erf_inv
    erfc exp exp2 expm1 igamma igamma_grad_a igammac lgamma log log1p log2 logistic polygamma pow
    random_gamma_grad regularized_incomplete_beta rsqrt sin sinh sqrt tan tanh zeta
    """
)
# Only another view of the same bytes, or a mark for the compiler.
_FREE = _names(
    """
    after_all axis_index bitcast_convert_type create_token expand_dims name optimization_barrier
    pcast platform_index pvary random_unwrap random_wrap reshape reshard sharding_constraint squeeze
    stop_gradient
    """
)
_MOVEMENT = _names(
    """
    all_gather all_gather_invariant all_to_all broadcast_in_dim complex concatenate
    convert_element_type copy copy_p device_put dynamic_slice dynamic_update_slice empty empty2
    gather imag iota pad pmax pmin ppermute psum psum2 psum_invariant random_seed real
    reduce_precision reduce_scatter rev scatter slice split stack tile transpose unstack
    """
)
_COMBINING_SCATTERS = _names("scatter_add scatter_sub scatter_mul scatter_min scatter_max")
# Primitives whose jaxpr combines two scalars and is no program of its own.
SCALAR_BODIES = _COMBINING_SCATTERS | {"scatter", "reduce", "reduce_window", "select_and_scatter"}
_RULES: Mapping[str, Callable[[Equation], int]] = MappingProxyType(
    {
        "dot_general": _dot,
        "conv_general_dilated": _convolution,
        "integer_pow": _power,
        "one_minus_square": lambda equation: 3 * size(equation.outvars[0].aval),
        "sort": _sort,
        "top_k": lambda equation: size(equation.invars[0].aval),
        "fft": _fourier,
        "random_bits": _random_bits,
        "random_split": _new_keys,
        "random_fold_in": _new_keys,
        "threefry2x32": lambda equation: 112 * size(equation.outvars[0].aval),
        "cholesky": _cubic(1, 3),
        "lu": _cubic(2, 3),
        "triangular_solve": _triangular_solve,
        "select_and_scatter_add": _pooling_gradient,
        "select_and_gather_add": _window,
        **{
            f"reduce_{kind}": _reduction
            for kind in ("sum", "max", "min", "prod", "and", "or", "xor")
        },
        **dict.fromkeys(("reduce", "argmax", "argmin"), _reduction),
        **{f"reduce_window{kind}": _window for kind in ("", "_sum", "_max", "_min")},
        **{
            f"cum{kind}": lambda equation: size(equation.invars[0].aval)
            for kind in ("sum", "prod", "max", "min", "logsumexp")
        },
        **{
            name: _updates
            for name in SCALAR_BODIES
            if name.startswith("scatter") and name != "scatter"
        },
    }
)
