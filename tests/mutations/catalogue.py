"""The ways in which the library is broken on purpose.

A mutation that no test notices is a test that is missing: write that, do not take the mutation away. Where a
change to the library moves an `old` text, move it here too; `tests/mutations/test_catalogue.py` says which.
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One mistake, and the tests that have to notice it.

    Attributes:
      name: says what is wrong.
      file: of the library, below `noisy_optax/`.
      old: text that occurs in the file once.
      new: what takes its place.
      tests: the test file that mirrors the file, below `tests/`.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = (
    # audit
    Mutation(
        "margin_to_the_mean_of_the_others",
        "audit/_dynamics.py",
        "return own - jnp.max(jnp.where(is_label, zeros, p), axis=-1)",
        "return own - (1 - own) / (p.shape[-1] - 1)",
        "audit/test_dynamics.py",
    ),
    Mutation(
        "audit_counts_held_out_examples",
        "audit/_dynamics.py",
        "counts = recorded if where is None else recorded & _label.example_mask(where, recorded.shape)",
        "counts = recorded",
        "audit/test_dynamics.py",
    ),
    Mutation(
        "epochs_of_the_share_all_weigh_the_same",
        "audit/_dynamics.py",
        "share = weight_of_share * _share.posterior(",
        "share = _share.posterior(",
        "audit/test_dynamics.py",
    ),
    Mutation(
        "recorded_is_never_reset",
        "audit/_dynamics.py",
        "recorded=jnp.zeros_like(recorded),",
        "recorded=recorded,",
        "audit/test_dynamics.py",
    ),
    Mutation(
        "interval_grows_narrow_without_bound",
        "audit/_share.py",
        "worth = number * MOST_EXAMPLES / (number + MOST_EXAMPLES)",
        "worth = number",
        "audit/test_verdict.py",
    ),
    Mutation(
        "shares_weigh_by_their_spacing_twice",
        "audit/_share.py",
        "densest = jnp.argsort(-share / jnp.asarray(widths(), share.dtype))",
        "densest = jnp.argsort(-share)",
        "audit/test_verdict.py",
    ),
    Mutation(
        "probability_without_the_share",
        "audit/_share.py",
        "prior_odds[:, None, None] - SLOPES[:, None] * grid",
        "0 * prior_odds[1:2, None, None] - SLOPES[:, None] * grid",
        "audit/test_verdict.py",
    ),
    Mutation(
        "learnt_by_examples_instead_of_classes",
        "audit/_verdict.py",
        "once = jnp.where(known, 1 / of_own_class, 0.0)",
        "once = jnp.where(known, 1.0, 0.0)",
        "audit/test_verdict.py",
    ),
    Mutation(
        "verdict_of_the_first_replica",
        "audit/_verdict.py",
        "margin = jnp.mean(mean_margin(replicas), axis=0)",
        "margin = mean_margin(replicas)[0]",
        "audit/test_verdict.py",
    ),
    Mutation(
        "doubt_within_one_epoch",
        "audit/_dynamics.py",
        "_share.share_in_doubt(mean_margin(dynamics), counts)",
        "_share.share_in_doubt(dynamics.latest_margin, counts)",
        "audit/test_verdict.py",
    ),
    # losses
    Mutation(
        "label_chosen_along_wrong_axis",
        "losses/_label.py",
        "logits = jnp.moveaxis(logits, axis, -1)",
        "logits = jnp.moveaxis(logits, -1, axis)",
        "losses/test_contract.py",
    ),
    Mutation(
        "masked_loss_not_zero",
        "losses/_label.py",
        "return losses if where is None else jnp.where(jnp.asarray(where), losses, jnp.zeros_like(losses))",
        "return losses",
        "losses/test_contract.py",
    ),
    Mutation(
        "label_alone_without_guard",
        "losses/_label.py",
        "jnp.where(alone, -jnp.inf, log_total)",
        "log_total",
        "losses/test_label.py",
    ),
    Mutation(
        "generalized_cross_entropy_without_division",
        "losses/_generalized_cross_entropy.py",
        "-_label.expm1(q * _label.log_probability(log_odds)) / q",
        "-_label.expm1(q * _label.log_probability(log_odds))",
        "losses/test_golden.py",
    ),
    Mutation(
        "clip_mask_inverted",
        "losses/_clipped.py",
        "clipped = log_odds <= threshold",
        "clipped = log_odds > threshold",
        "losses/test_clipped.py",
    ),
    Mutation(
        "tangent_slope_sign",
        "losses/_clipped.py",
        "function(threshold) + tau * p_difference",
        "function(threshold) - tau * p_difference",
        "losses/test_clipped.py",
    ),
    Mutation(
        "schedule_read_after_increment",
        "robust_loss.py",
        "ScheduledState(optax.safe_increment(state.count), evaluate(state.count))",
        "ScheduledState(optax.safe_increment(state.count), evaluate(state.count + 1))",
        "test_robust_loss.py",
    ),
    Mutation(
        "label_bias_in_value_only",
        "losses/_transformed_logits.py",
        "loss.update(state, z, labels, where=where, indices=indices)",
        "loss.update(state, logits, labels, where=where, indices=indices)",
        "losses/test_logit_bias.py",
    ),
    Mutation(
        "entropy_sign",
        "losses/_dynamics_aware.py",
        "power + jnp.asarray(bootstrap_weight, z.dtype) * share / q",
        "power - jnp.asarray(bootstrap_weight, z.dtype) * share / q",
        "losses/test_dynamics_aware.py",
    ),
    Mutation(
        "implicit_gradient_sign",
        "losses/_bi_tempered.py",
        "return excess, change / _steepness",
        "return excess, -change / _steepness",
        "losses/test_bi_tempered.py",
    ),
    Mutation(
        "weights_of_a_sum_unused",
        "losses/_combined.py",
        "jnp.asarray(weight, value.dtype) * value for value, weight in values",
        "value for value, weight in values",
        "losses/test_combined.py",
    ),
    Mutation(
        "share_without_the_label",
        "losses/_normalized.py",
        "return label / (label + others)",
        "return label / others",
        "losses/test_contract.py",
    ),
    # ogc
    Mutation(
        "queue_drops_the_newest",
        "ogc/_state.py",
        "state.queue[x.size :]",
        "state.queue[: state.queue.size - x.size]",
        "ogc/test_loss.py",
    ),
    Mutation(
        "queue_off_by_one",
        "ogc/_state.py",
        "filled=jnp.minimum(state.filled + x.size,",
        "filled=jnp.minimum(state.filled + x.size + 1,",
        "ogc/test_loss.py",
    ),
    Mutation(
        "bound_of_the_next_step",
        "ogc/_state.py",
        "bound=bound(state.count))",
        "bound=bound(state.count + 1))",
        "ogc/test_loss.py",
    ),
    Mutation(
        "too_few_examples_refit_all_the_same",
        "ogc/_state.py",
        ">= math.ceil(MIN_VALID_SHARE * queue_size)",
        ">= 0",
        "ogc/test_loss.py",
    ),
    Mutation(
        "clean_and_noisy_swapped_in_the_posterior",
        "ogc/_state.py",
        "jax.nn.sigmoid(clean - noisy)",
        "jax.nn.sigmoid(noisy - clean)",
        "ogc/test_loss.py",
    ),
    Mutation(
        "gradient_flows_through_the_fit",
        "ogc/_loss.py",
        "jax.lax.stop_gradient(logits), labels",
        "logits, labels",
        "ogc/test_loss.py",
    ),
    Mutation(
        "queue_mask_inverted",
        "ogc/_loss.py",
        "~jnp.isnan(log_p) & jnp.asarray(where)",
        "~jnp.isnan(log_p) & ~jnp.asarray(where)",
        "ogc/test_loss.py",
    ),
    Mutation(
        "mixture_weights_unused",
        "ogc/_mixture.py",
        "scale = jnp.log(mixture.weights) - 0.5 * jnp.log(mixture.variances)",
        "scale = -0.5 * jnp.log(mixture.variances)",
        "ogc/test_mixture.py",
    ),
    Mutation(
        "mixture_components_swapped",
        "ogc/_mixture.py",
        "crossed = mixture.means[0] > mixture.means[1]",
        "crossed = mixture.means[0] < mixture.means[1]",
        "ogc/test_mixture.py",
    ),
    Mutation(
        "normals_truncated_elsewhere",
        "ogc/_threshold.py",
        "H_MAX = float(-np.log(PROBABILITY_MIN))",
        "H_MAX = float(-np.log(2 * PROBABILITY_MIN))",
        "ogc/test_threshold.py",
    ),
    Mutation(
        "norm_at_tau_counted_twice",
        "ogc/_threshold.py",
        "jax.lax.cumsum(densities, axis=1, reverse=True) - densities",
        "jax.lax.cumsum(densities, axis=1, reverse=True)",
        "ogc/test_per_example.py",
    ),
    Mutation(
        "mean_over_masked_examples_too",
        "ogc/_per_example.py",
        "kept = jnp.maximum(jnp.sum(where, dtype=weights.dtype), 1.0)",
        "kept = weights.size",
        "ogc/test_per_example.py",
    ),
    # sharpness
    Mutation(
        "rho_sign",
        "sharpness/_perturbation.py",
        "_tree.with_norm(_schedule.at(rho, count), gradient)",
        "_tree.with_norm(-_schedule.at(rho, count), gradient)",
        "sharpness/test_transformation.py",
    ),
    Mutation(
        "running_mean_starts_at_zero",
        "sharpness/_perturbation.py",
        "decay = jnp.where(count == 0, jnp.zeros_like(decay), decay)",
        "decay = jnp.where(count < 0, jnp.zeros_like(decay), decay)",
        "sharpness/test_transformation.py",
    ),
    Mutation(
        "norm_without_guard_at_zero",
        "sharpness/_tree.py",
        "/ jnp.where(length == 0, jnp.ones_like(length), length)",
        "/ length",
        "sharpness/test_transformation.py",
    ),
    Mutation(
        "alpha_on_group_a",
        "sharpness/_combination.py",
        "group_masks(g, s).b",
        "group_masks(g, s).a",
        "sharpness/test_transformation.py",
    ),
    Mutation(
        "gsam_adds_what_it_should_remove",
        "sharpness/_combination.py",
        "jnp.subtract, second, _tree.scale",
        "jnp.add, second, _tree.scale",
        "sharpness/test_transformation.py",
    ),
    Mutation(
        "equal_components_in_group_b",
        "sharpness/_groups.py",
        "along < size",
        "along <= size",
        "test_diagnostics.py",
    ),
    Mutation(
        "chunks_summed_instead_of_averaged",
        "sharpness/_m_sharpness.py",
        "lambda x: jnp.mean(x, axis=0), updates",
        "lambda x: jnp.sum(x, axis=0), updates",
        "sharpness/test_m_sharpness.py",
    ),
    Mutation(
        "micro_batches_counted_from_two",
        "sharpness/_micro_batches.py",
        "(jnp.arange(1, count + 1), micro_batches)",
        "(jnp.arange(2, count + 2), micro_batches)",
        "sharpness/test_micro_batches.py",
    ),
    # training step, memory
    Mutation(
        "second_pass_advances_the_loss",
        "training/_step.py",
        "return weighted_mean(loss.value(loss_state, logits, labels, **batch), weights, where), aux",
        "return weighted_mean(loss.apply(loss_state, logits, labels, **batch)[0], weights, where), aux",
        "test_training.py",
    ),
    Mutation(
        "schedules_count_micro_batches",
        "training/_accumulation.py",
        "jnp.where(moves_on, new.count, old.count)",
        "new.count",
        "test_training.py",
    ),
    Mutation(
        "padding_has_a_say",
        "training/_mean.py",
        "jnp.where(_label.example_mask(where, shape), factors, jnp.zeros_like(factors))",
        "factors",
        "test_training.py",
    ),
    Mutation(
        "memory_counts_from_the_end",
        "memory/_rows.py",
        "jnp.where(indices < 0, len(memory), indices)",
        "indices",
        "memory/test_early_learning.py",
    ),
    Mutation(
        "a_bad_row_is_remembered",
        "memory/_rows.py",
        "valid = jnp.any(is_label, axis=-1) & jnp.all(jnp.isfinite(z), axis=-1)",
        "valid = jnp.any(is_label, axis=-1)",
        "memory/test_early_learning.py",
    ),
    # schedules, noise, per-example gradients, diagnostics, the configuration without tuning
    Mutation(
        "saner_epoch_from_zero",
        "schedules.py",
        "count // steps_per_epoch + 1, epochs",
        "count // steps_per_epoch, epochs",
        "test_schedules.py",
    ),
    Mutation(
        "dal_epochs_one_short",
        "schedules.py",
        "np.arange(operator.index(total_epochs) + 1, dtype=np.float64)",
        "np.arange(operator.index(total_epochs), dtype=np.float64)",
        "test_schedules.py",
    ),
    Mutation(
        "true_class_not_excluded",
        "noise.py",
        "labels, rate, (1, num_classes), num_classes",
        "labels, rate, (0, num_classes), num_classes",
        "test_noise.py",
    ),
    Mutation(
        "true_class_not_excluded_by_instance",
        "noise.py",
        "jnp.where(labels[:, None] == classes[None, :], -jnp.inf, scores)",
        "scores",
        "test_noise.py",
    ),
    Mutation(
        "noise_matrix_transposed",
        "noise.py",
        "cumulative = jnp.cumsum(matrix, axis=1)",
        "cumulative = jnp.cumsum(matrix.T, axis=1)",
        "test_noise.py",
    ),
    Mutation(
        "example_weights_unused",
        "per_example.py",
        "jnp.sum(values * weights.astype(values.dtype))",
        "jnp.sum(values)",
        "test_per_example.py",
    ),
    Mutation(
        "last_chunk_dropped",
        "per_example.py",
        "if whole < size:",
        "if whole > size:",
        "test_per_example.py",
    ),
    Mutation(
        "fitting_ratio_upside_down",
        "diagnostics.py",
        "jnp.mean(rate, where=~clean) / jnp.mean(rate, where=clean)",
        "jnp.mean(rate, where=clean) / jnp.mean(rate, where=~clean)",
        "test_diagnostics.py",
    ),
    Mutation(
        "gradient_flows_through_the_weight",
        "losses/_relative_generalized_cross_entropy.py",
        "power *= jax.lax.stop_gradient(jnp.exp(-q * log_top))",
        "power *= jnp.exp(-q * log_top)",
        "losses/test_relative_generalized_cross_entropy.py",
    ),
    Mutation(
        "preferred_class_ignored",
        "losses/_relative_generalized_cross_entropy.py",
        "jax.lax.stop_gradient(jnp.exp(-q * log_top))",
        "jax.lax.stop_gradient(jnp.exp(0 * log_top))",
        "losses/test_relative_generalized_cross_entropy.py",
    ),
    Mutation(
        "watched_examples_trained_on",
        "_recommended.py",
        "jnp.where(_watching.is_watched(indices), of_watched, 1.0)",
        "jnp.where(_watching.is_watched(indices), 1.0, 1.0)",
        "test_recommended.py",
    ),
    Mutation(
        "noticed_again_and_again",
        "_recommended.py",
        "jnp.where(memorises & ~noticed, watch.epochs, state.noticed_at)",
        "jnp.where(memorises, watch.epochs, state.noticed_at)",
        "test_recommended.py",
    ),
    Mutation(
        "noticed_within_the_error",
        "_recommended.py",
        "share = found.share - found.standard_error",
        "share = found.share + found.standard_error",
        "test_recommended.py",
    ),
    Mutation(
        "masked_rows_watched",
        "memory/_rows.py",
        "valid &= jnp.asarray(where).ravel()",
        "valid |= ~jnp.asarray(where).ravel()",
        "memory/test_watching.py",
    ),
    Mutation(
        "watched_with_those_trained_on",
        "memory/_watching.py",
        "sums_of(counts & ~watched), sums_of(counts & watched)",
        "sums_of(counts), sums_of(counts & watched)",
        "memory/test_watching.py",
    ),
    Mutation(
        "learning_taken_for_memorising",
        "_recommended.py",
        "(found.gain_of_watched < SHARED_GAIN * found.gain)",
        "(found.gain_of_watched < found.gain)",
        "test_recommended.py",
    ),
    Mutation(
        "too_late_ignored",
        "_recommended.py",
        "jnp.where(share <= TOO_LATE_ABOVE, weight, 0.0)",
        "jnp.where(share <= 1, weight, 0.0)",
        "test_recommended.py",
    ),
)
