"""Whatever is built costs next to nothing and wakes no device: a process may join others afterwards."""

import subprocess
import sys

PROGRAM = """
import functools, socket, time
import jax, optax
import noisy_optax as nox
from noisy_optax import losses, sharpness

rate = optax.cosine_decay_schedule(0.1, 100)
gce = functools.partial(losses.generalized_cross_entropy, q=0.7)
factories = {
    "ogc_loss": lambda: nox.ogc.ogc_loss(gce, learning_rate=rate),
    "ogc": lambda: nox.ogc.ogc(learning_rate=rate),
    "ogc by norm": lambda: nox.ogc.ogc(learning_rate=0.1, statistic="gradient_norm"),
    "dal": lambda: losses.dal(100, 100),
    "scheduled": lambda: nox.scheduled(losses.focal, gamma=optax.linear_schedule(0.0, 2.0, 10)),
    "clip_slope": lambda: losses.clip_slope(gce, tau=2.0),
    "of_probability": lambda: losses.of_probability(lambda p: 1 - p),
    "weighted_sum": lambda: losses.weighted_sum((losses.cross_entropy, 1.0), (losses.unhinged, 0.5)),
    "with_logit_bias": lambda: losses.with_logit_bias(losses.mean_absolute_error, losses.logit_bias(100)),
    "elr": lambda: nox.memory.early_learning_regularization(50_000, 10),
    "recommended": lambda: nox.recommended(10, 1000),
    "saner": lambda: nox.saner(0.1, nox.schedules.saner_scale(steps_per_epoch=10)),
    "sam": sharpness.sam, "asam": sharpness.asam, "friendly_sam": sharpness.friendly_sam,
    "vasso": sharpness.vasso, "gsam": sharpness.gsam,
    "m_sharpness": lambda: sharpness.m_sharpness(sharpness.sam()),
    "training_step": lambda: nox.training_step(lambda w, x: x @ w, losses.cross_entropy, optax.sgd(rate)),
}
for name, build in factories.items():
    build()
    assert not jax._src.xla_bridge._backends, name
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = "127.0.0.1:%d" % free.getsockname()[1]
jax.distributed.initialize(address, 1, 0)
assert jax.process_count() == 1
jax.distributed.shutdown()
print("joined")
"""


def test_everything_can_be_built_before_jax_distributed_initialize():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "joined", done.stderr
