"""A loss of transformed logits."""

from typing import Protocol, overload, runtime_checkable

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax.robust_loss import Loss, RobustLoss


@runtime_checkable
class Transform(Protocol):
    """Changes logits; what it returns has the class axis last."""

    def __call__(
        self, logits: ArrayLike, labels: ArrayLike, *, axis: int = -1, where: ArrayLike | None = None
    ) -> Float[Array, "... classes"]:
        """Returns the changed logits."""


@overload
def with_transformed_logits(loss: Loss, transform: Transform) -> Loss: ...
@overload
def with_transformed_logits(loss: RobustLoss, transform: Transform) -> RobustLoss: ...


def with_transformed_logits(loss: Loss | RobustLoss, transform: Transform) -> Loss | RobustLoss:
    """The loss of `transform(logits, labels)`; a `RobustLoss` gets them in `update` and in `value`."""
    if isinstance(loss, RobustLoss):

        def update_fn(state, logits, labels, *, where=None, indices=None):
            z = transform(logits, labels, where=where)
            return loss.update(state, z, labels, where=where, indices=indices)

        def value_fn(state, logits, labels, *, where=None, indices=None):
            z = transform(logits, labels, where=where)
            return loss.value(state, z, labels, where=where, indices=indices)

        return RobustLoss(loss.init, update_fn, value_fn)

    def loss_fn(logits, labels, *, axis=-1, where=None):
        return loss(transform(logits, labels, axis=axis, where=where), labels, where=where)

    names = (getattr(function, "__name__", repr(function)) for function in (transform, loss))
    loss_fn.__name__ = "{}({})".format(*names)
    return loss_fn
