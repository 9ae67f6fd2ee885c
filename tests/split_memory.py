"""Twenty steps of a loss with memory that is split over the examples, on a mesh of one process or of two."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import noisy_optax as nox

EXAMPLES, FEATURES, CLASSES, BATCH_SIZE, STEPS = 48, 5, 3, 8, 20


def forward(params, x):
    return x @ params


def twenty_steps(mesh):
    """Parameters and memory after them, of ELR with SANER; `mesh` is None for one device."""
    memory = nox.memory.early_learning_regularization(EXAMPLES, CLASSES)
    optimizer = optax.sgd(0.1, momentum=0.9)
    step = nox.training_step(forward, memory, optimizer, sharpness=nox.saner(0.2))
    rng = np.random.default_rng(0)
    params = rng.normal(size=(FEATURES, CLASSES)).astype(np.float32)
    state = step.init(jnp.asarray(params))
    batches = [
        (
            rng.normal(size=(BATCH_SIZE, FEATURES)).astype(np.float32),
            rng.integers(0, CLASSES, BATCH_SIZE, dtype=np.int32),
            rng.permutation(EXAMPLES)[:BATCH_SIZE].astype(np.int32),
        )
        for _ in range(STEPS)
    ]
    if mesh is not None:
        whole, by_row = (jax.NamedSharding(mesh, spec) for spec in (jax.P(), jax.P(mesh.axis_names[0])))
        params, host_state = put((params, jax.device_get(state)), whole)
        targets = put(jax.device_get(state.loss.targets), by_row)
        state = host_state._replace(loss=host_state.loss._replace(targets=targets))
        batches = put(batches, by_row)
    update = jax.jit(step.update, donate_argnums=(0, 1))
    for x, y, indices in batches:
        params, state, _ = update(params, state, x, y, indices=indices)
    if mesh is None:
        return jax.device_get((params, state.loss.targets))
    assert not state.loss.targets.is_fully_replicated
    return jax.device_get(jax.jit(lambda tree: tree, out_shardings=whole)((params, state.loss.targets)))


def put(tree, sharding):
    """The arrays on the devices of all processes, each of which has the whole of them."""
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(np.shape(x), sharding, lambda index: np.asarray(x)[index]),
        tree,
    )
