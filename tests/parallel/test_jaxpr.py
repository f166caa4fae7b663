"""The jaxpr walker against counts by hand and against XLA's own cost analysis."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parallel import jaxpr


def shape(*dims, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(dims, dtype)


def xla_cost(function, *args):
    found = jax.jit(function).lower(*args).cost_analysis()
    return int(found.get("flops", 0)), int(found.get("transcendentals", 0))


def convolution(image, kernel, **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        image, kernel, options.pop("stride", (1, 1)), options.pop("padding", "SAME"),
        dimension_numbers=numbers, **options,
    )  # fmt: skip


def pullback(a, b, cotangent):
    return jax.vjp(lambda a, b: jnp.tanh(a @ b) ** 2, a, b)[1](cotangent)


IMAGE, KERNEL = shape(2, 9, 8, 6), shape(3, 3, 6, 4)


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (lambda a, b: jnp.tanh(a @ b) + 1.0, (shape(5, 7), shape(7, 3))),
        (lambda a, b: jnp.einsum("bij,bkj->bik", a, b), (shape(4, 5, 7), shape(4, 3, 7))),
        (lambda x: jnp.sum(jnp.exp(x) * x - x, axis=1), (shape(6, 8),)),
        (lambda x: jnp.max(x, axis=0, keepdims=True) / jnp.sqrt(x), (shape(6, 8),)),
        (lambda x: jnp.where(x > 0.0, x, jnp.log(x)), (shape(6, 8),)),
        (lambda x: x**5, (shape(6, 8),)),
        (lambda x: x**6, (shape(6, 8),)),
        (convolution, (IMAGE, KERNEL)),
        (lambda x, k: convolution(x, k, stride=(2, 3), padding="VALID"), (IMAGE, KERNEL)),
        (lambda x, k: convolution(x, k, rhs_dilation=(2, 1)), (IMAGE, KERNEL)),
        (
            lambda x, k: convolution(x, k, padding=((2, 1), (0, 3)), lhs_dilation=(2, 3)),
            (IMAGE, KERNEL),
        ),
        (lambda x, k: convolution(x, k, feature_group_count=2), (IMAGE, shape(3, 3, 3, 4))),
        (pullback, (shape(5, 7), shape(7, 3), shape(5, 3))),
    ],
    ids=lambda value: "",
)
def test_agrees_with_xla_without_loops(function, args):
    found = jaxpr.cost(function, *args)
    assert (found.flops, found.transcendentals) == xla_cost(function, *args)
    assert found.unknown == ()


def test_gradient_of_a_strided_convolution_does_not_count_inserted_zeros():
    def loss(image, kernel):
        return jnp.sum(convolution(image, kernel, stride=(2, 2), padding="VALID"))

    forward = jaxpr.cost(loss, IMAGE, KERNEL).primitives["conv_general_dilated"].flops
    assert forward == 2 * (2 * 4 * 3 * 4) * (3 * 3 * 6)
    both = jaxpr.cost(jax.grad(loss, argnums=(0, 1)), IMAGE, KERNEL)
    assert both.primitives["conv_general_dilated"].flops == 2 * forward


def test_matrix_product_and_its_gradient():
    product = 2 * 16 * 32 * 8
    found = jaxpr.cost(lambda a, b: a @ b, shape(16, 32), shape(32, 8))
    assert found.flops == product
    assert found.bytes_read == 4 * (16 * 32 + 32 * 8)
    assert found.bytes_written == found.result_bytes == 4 * 16 * 8
    assert found.argument_bytes == found.bytes_read

    def loss(a, b):
        return jnp.sum(jnp.sin(a @ b))

    gradient = jaxpr.cost(jax.grad(loss, argnums=(0, 1)), shape(16, 32), shape(32, 8))
    assert gradient.primitives["dot_general"].flops == 3 * product
    assert gradient.primitives["cos"].transcendentals == 16 * 8
    assert "sin" not in gradient.primitives  # only the value needs it


def recurrent(weights, carry, length):
    return jax.lax.scan(lambda h, _: (jnp.tanh(h @ weights), None), carry, None, length=length)[0]


STEP = 2 * 4 * 8 * 8


def test_scan_multiplies_by_its_length():
    found = jaxpr.cost(lambda w, h: recurrent(w, h, 7), shape(8, 8), shape(4, 8))
    assert found.flops == 7 * STEP
    assert found.transcendentals == 7 * 4 * 8
    assert found.primitives["dot_general"].calls == 7
    gradient = jaxpr.cost(
        jax.grad(lambda w, h: jnp.sum(recurrent(w, h, 7))), shape(8, 8), shape(4, 8)
    )
    # For each step one product forward and two backward, but for the first step's carry, whose
    # cotangent a scan computes all the same.
    assert gradient.primitives["dot_general"].flops == 3 * 7 * STEP


def test_nested_scans_multiply():
    def outer(weights, carry):
        def body(h, _):
            return recurrent(weights, h, 3), None

        return jax.lax.scan(body, carry, None, length=5)[0]

    found = jaxpr.cost(outer, shape(8, 8), shape(4, 8))
    assert found.flops == 15 * STEP
    seen = []
    program = jaxpr.trace(outer, shape(8, 8), shape(4, 8))
    jaxpr.walk(program, lambda op: seen.append((op.equation.primitive.name, op.times, op.path)))
    assert ("tanh", 15, ("scan[5]", "scan[3]")) in seen
    assert seen.index(("scan", 5, ("scan[5]",))) < seen.index(("tanh", 15, ("scan[5]", "scan[3]")))


def test_jit_inside_vmap():
    inner = jax.jit(lambda x, w: jnp.exp(w @ x))
    found = jaxpr.cost(jax.vmap(inner, in_axes=(0, None)), shape(10, 6), shape(5, 6))
    assert found.flops == 10 * 2 * 5 * 6
    assert found.transcendentals == 10 * 5


def test_gradient_of_checkpoint_recomputes():
    def block(x, w):
        return jnp.sin(jnp.sin(x @ w) @ w)

    def loss(wrapped):
        return jax.grad(lambda x, w: jnp.sum(wrapped(x, w)), argnums=1)

    shapes = (shape(4, 8), shape(8, 8))
    plain = jaxpr.cost(loss(block), *shapes).primitives["dot_general"].flops
    again = jaxpr.cost(loss(jax.checkpoint(block)), *shapes).primitives["dot_general"].flops
    # Both products forward, three backward; recomputation repeats both, and what the checkpoint
    # computed forward is dead, since only the gradient is returned.
    assert plain == 5 * STEP
    assert again == 5 * STEP
    with_value = jax.value_and_grad(lambda x, w: jnp.sum(jax.checkpoint(block)(x, w)), argnums=1)
    assert jaxpr.cost(with_value, *shapes).primitives["dot_general"].flops == 7 * STEP


def test_custom_derivatives_are_entered():
    @jax.custom_vjp
    def double(x):
        return 2.0 * jnp.exp(x)

    double.defvjp(lambda x: (double(x), x), lambda x, g: (g * jnp.exp(x),))
    assert jaxpr.cost(double, shape(5)).transcendentals == 5
    assert jaxpr.cost(jax.nn.relu, shape(5)).flops == 5  # a custom_jvp


def test_while_counts_once_and_says_so():
    def run(x, trips):
        body = lambda state: (state[0] + 1, jnp.sin(state[1]))  # noqa: E731
        return jax.lax.while_loop(lambda state: state[0] < trips, body, (0, x))[1]

    found = jaxpr.cost(jax.jit(run), shape(6), shape(dtype=jnp.int32))
    assert found.transcendentals == 6
    assert found.unbounded_loops == ("jit(run)/while",)
    bounded = jaxpr.cost(lambda x: jax.lax.fori_loop(0, 9, lambda _, y: jnp.sin(y), x), shape(6))
    assert bounded.transcendentals == 54
    assert bounded.unbounded_loops == ()


def test_cond_counts_its_most_costly_branch():
    def choose(index, x):
        return jax.lax.switch(index, [lambda y: y, lambda y: jnp.sin(y @ y), lambda y: y + 1.0], x)

    found = jaxpr.cost(choose, shape(dtype=jnp.int32), shape(8, 8))
    assert found.primitives["dot_general"].flops == 2 * 8**3
    assert found.transcendentals == 64
    assert "add" not in found.primitives


def test_movement_costs_bytes_only():
    found = jaxpr.cost(lambda x, i: x[i].T, shape(100, 4), shape(3, dtype=jnp.int32))
    moved = found.primitives["gather"]
    assert moved.flops == 0
    assert moved.bytes_written == 3 * 4 * 4
    assert moved.bytes_read == 3 * 4 * 4 + 3 * 4  # what it takes, and the indices; not the table
    assert found.primitives["transpose"].bytes_read == 3 * 4 * 4
    assert jaxpr.cost(lambda x: x.reshape(20, 20), shape(100, 4)).bytes_read == 0


def test_scatter_adds_its_updates_in_place():
    shapes = (shape(90, 4), shape(2, dtype=jnp.int32), shape(2, 4))
    found = jaxpr.cost(lambda x, i, u: x.at[i].add(u), *shapes).primitives["scatter_add"]
    assert (found.flops, found.bytes_written) == (8, 8 * 4)
    assert found.bytes_read == 2 * 8 * 4 + 2 * 4  # updates, what they add to, and the indices
    assert jaxpr.cost(lambda x, i, u: x.at[i].set(u), *shapes).primitives["scatter"].flops == 0


def test_dead_code_and_unused_arguments_do_not_count():
    def wasteful(x, unused):
        jnp.sin(x @ x)
        return x + 1.0

    found = jaxpr.cost(wasteful, shape(8, 8), shape(1000))
    assert found.flops == 64
    assert found.transcendentals == 0
    assert found.argument_bytes == 64 * 4


def test_captured_arrays_are_arguments():
    table = np.ones((50, 4), np.float32)
    found = jaxpr.cost(lambda x: x @ jnp.asarray(table).T, shape(2, 4))
    assert found.argument_bytes == 4 * (2 * 4 + 50 * 4)


def test_random_numbers_and_keys():
    key = jax.eval_shape(lambda: jax.random.key(0))
    found = jaxpr.cost(lambda k: jax.random.uniform(jax.random.fold_in(k, 1), (10,)), key)
    assert found.primitives["random_bits"].elements == 10
    assert found.primitives["random_bits"].flops == 1130
    assert found.unknown == ()


def test_unknown_primitives_are_reported():
    found = jaxpr.cost(lambda x: jnp.linalg.svd(x)[1], shape(4, 4))
    assert found.unknown == ("svd",)


def test_nothing_is_computed():
    huge = shape(1 << 20, 1 << 20)
    assert jaxpr.cost(lambda a: a @ a, huge).flops == 2 << 60


def test_walk_can_prune_and_select():
    def function(index, x):
        return jax.lax.cond(index, jnp.sin, jnp.cos, jax.jit(jnp.exp)(x))

    seen = []

    def visit(operation):
        seen.append(operation.equation.primitive.name)
        kinds = {inner.kind for inner in operation.subprograms}
        if "branch" in kinds:
            return operation.subprograms[:1]
        return () if "call" in kinds else None

    jaxpr.walk(jaxpr.trace(function, shape(dtype=jnp.bool_), shape(3)), visit)
    assert "exp" not in seen
    assert ("sin" in seen) != ("cos" in seen)


def test_shard_map_counts_every_device():
    script = """
        import jax, jax.numpy as jnp
        from parallel import jaxpr

        mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        split = jax.P("data")

        @jax.jit
        def step(x, w):
            body = lambda x, w: jax.lax.psum(jnp.tanh(x @ w).sum(), "data")
            specs = dict(in_specs=(split, jax.P()), out_specs=jax.P())
            return jax.shard_map(body, mesh=mesh, **specs)(x, w)

        shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((8, 16), (16, 3))]
        found = jaxpr.cost(step, *shapes)
        assert found.primitives["dot_general"].flops == 2 * 8 * 16 * 3, found
        assert found.transcendentals == 8 * 3, found
        assert found.unknown == (), found
        paths = []
        jaxpr.walk(jaxpr.trace(step, *shapes), lambda op: paths.append(op.path))
        assert ("jit(step)", "shard_map[4]") in paths, paths
    """
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
