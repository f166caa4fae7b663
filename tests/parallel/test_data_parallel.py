"""How a state and a batch lie on a mesh: on one device here, on several in a process of its own."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np

from parallel import data_parallel


def test_one_device_holds_all():
    mesh = data_parallel.make_mesh(jax.devices()[:1])
    tree = {"key": jax.random.key(3), "w": np.arange(3.0)}
    put = data_parallel.replicate(tree, mesh)
    assert put["w"].sharding == put["key"].sharding == data_parallel.replicated(mesh)
    assert jax.random.key_data(put["key"]).tolist() == jax.random.key_data(tree["key"]).tolist()
    batch = {"x": np.ones((3, 2), np.float32), "n": np.ones((), np.float32)}
    placed = data_parallel.place(batch, mesh)
    kept = jax.jit(lambda batch: data_parallel.split(batch, mesh))(placed)
    assert all(np.array_equal(kept[name], batch[name]) for name in batch)


def test_what_hosts_make_is_seen_as_the_device_will():
    made = {"x": np.zeros((4, 3)), "y": np.zeros(4, np.int64), "n": 2.0}
    found = data_parallel.over_hosts(made, 2)
    assert {name: (leaf.shape, leaf.dtype.name) for name, leaf in found.items()} == {
        "x": ((8, 3), "float32"),
        "y": ((8,), "int32"),
        "n": ((), "float32"),
    }
    assert data_parallel.as_on_device(jnp.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16


def test_several_devices_share_the_rows_and_copy_the_state():
    script = """
        import jax, numpy as np
        from parallel import data_parallel

        mesh = data_parallel.make_mesh(jax.devices())
        state = data_parallel.replicate({"w": np.arange(8.0), "key": jax.random.key(0)}, mesh)
        assert [part.data.shape for part in state["w"].addressable_shards] == [(8,)] * 4

        whole = []
        batch = {"x": np.arange(16.0).reshape(8, 2), "odd": np.ones(6), "n": np.ones(())}
        placed = data_parallel.place(batch, mesh, whole=whole.append)
        shards = placed["x"].addressable_shards
        assert [part.data.tolist() for part in shards] == batch["x"].reshape(4, 2, 2).tolist()
        assert [part.data.shape for part in placed["odd"].addressable_shards] == [(6,)] * 4
        assert whole == [6], whole
        later = data_parallel.place({"x": np.ones((3, 8, 2)), "steps": np.ones(3)}, mesh, axis=1)
        assert later["x"].addressable_shards[0].data.shape == (3, 2, 2)
        assert later["steps"].addressable_shards[0].data.shape == (3,)

        @jax.jit
        def traced():
            made = {"x": jax.numpy.ones((8, 2)), "odd": jax.numpy.ones(6), "n": 1.0}
            return data_parallel.split(made, mesh, whole.append)

        made = traced()
        assert made["x"].addressable_shards[0].data.shape == (2, 2)
        assert whole == [6, 6], whole
    """
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
