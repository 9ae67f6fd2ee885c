"""Mistakes in the runs of the application: methods, training, measuring, run folders."""

from tests.mutations.mutation import Mutation

MUTATIONS = (
    Mutation(
        "the_last_model_is_shipped_instead_of_the_selected",
        "experiments/runs/saved_model.py",
        "shipped = selected or state",
        "shipped = state",
        "experiments/runs/test_saved_model.py",
    ),
    Mutation(
        "selected_parameters_with_the_last_statistics",
        "experiments/runs/saved_model.py",
        "        shipped.statistics,\n",
        "        state.statistics,\n",
        "experiments/runs/test_saved_model.py",
    ),
    Mutation(
        "probabilities_sum_to_one_over_the_examples",
        "experiments/runs/saved_model.py",
        "jax.nn.softmax(logits)",
        "jax.nn.softmax(logits, axis=1)",
        "experiments/runs/test_saved_model.py",
    ),
    Mutation(
        "evaluated_as_in_training",
        "experiments/training/evaluation.py",
        "of_images, _ = parts.network.apply(params, statistics, images, train=False)",
        "of_images, _ = parts.network.apply(params, statistics, images, train=True)",
        "experiments/training/test_evaluation.py",
    ),
    Mutation(
        "mirrored_upside_down",
        "experiments/training/evaluation.py",
        "images[:, :, ::-1]",
        "images[:, ::-1]",
        "experiments/training/test_evaluation.py",
    ),
    Mutation(
        "indices_shuffled_against_the_labels",
        "experiments/training/epoch_loops.py",
        "return train_step(parts, state, *taken, indices=drawn.indices)",
        "return train_step(parts, state, *taken, indices=drawn.indices[::-1])",
        "experiments/training/test_epoch_loops.py",
    ),
    Mutation(
        "the_same_leftover_is_never_trained_on",
        "experiments/training/epoch_loops.py",
        "jax.random.permutation(order_key, examples)[: steps * batch_size].reshape",
        "jax.random.permutation(order_key, steps * batch_size).reshape",
        "experiments/training/test_epoch_loops.py",
    ),
    Mutation(
        "every_step_augments_with_the_same_key",
        "experiments/training/epoch_loops.py",
        "(augment_key, jnp.arange(steps))",
        "(augment_key, jnp.zeros(steps, int))",
        "experiments/training/test_epoch_loops.py",
    ),
    Mutation(
        "augmentation_begins_anew_after_a_resume_within_an_epoch",
        "experiments/training/epoch_loops.py",
        "            state, output = step(state, inputs, batch, given, drawn, i)\n",
        "            keys = None if drawn.keys is None else drawn.keys[:, jnp.arange(steps) - first]\n"
        "            state, output = step(state, inputs, batch, given, drawn._replace(keys=keys), i)\n",
        "experiments/training/test_epoch_loops.py",
    ),
    Mutation(
        "a_resume_within_an_epoch_trains_on_the_labels_of_its_first_steps",
        "experiments/training/epoch_loops.py",
        "in enumerate(batches, first):",
        "in enumerate(batches):",
        "experiments/training/test_epoch_loops.py",
    ),
    Mutation(
        "losses_before_a_resume_are_forgotten",
        "experiments/training/epoch_loops.py",
        "[tuple(x[:, i] for x in done) for i in range(first)]",
        "[tuple(0 * x[:, i] for x in done) for i in range(first)]",
        "experiments/training/test_epoch_loops.py",
    ),
    Mutation(
        "the_same_order_in_every_epoch",
        "experiments/training/loop.py",
        "(setup.keys[purpose], epoch)",
        "(setup.keys[purpose], 0)",
        "experiments/training/test_loop.py",
    ),
    Mutation(
        "augmented_with_the_keys_of_the_order",
        "experiments/training/loop.py",
        'for purpose in ("order", "augment")',
        'for purpose in ("order", "order")',
        "experiments/training/test_loop.py",
    ),
    Mutation(
        "metrics_written_after_the_checkpoint",
        "experiments/training/loop.py",
        "            run_folder.append_metrics(run_dir, measured)\n"
        "            add_events(measured)\n"
        "            history.append(measured)\n"
        "            stopping = epoch < last and is_time_over(placement, started)\n"
        "            if stopping or is_checkpoint_due(epoch, experiment):\n"
        "                checkpoints.save(epoch, run)\n",
        "            add_events(measured)\n"
        "            history.append(measured)\n"
        "            stopping = epoch < last and is_time_over(placement, started)\n"
        "            if stopping or is_checkpoint_due(epoch, experiment):\n"
        "                checkpoints.save(epoch, run)\n"
        "            run_folder.append_metrics(run_dir, measured)\n",
        "experiments/training/test_loop.py",
    ),
    Mutation(
        "a_seed_that_recovered_is_called_diverged",
        "experiments/training/loop.py",
        'history[-1]["train_loss"], strict=True)\n    return',
        'history[0]["train_loss"], strict=True)\n    return',
        "experiments/training/test_loop.py",
    ),
    Mutation(
        "a_tie_replaces_the_selected_epoch",
        "experiments/training/measurement.py",
        "better = accuracy > selected.accuracy",
        "better = accuracy >= selected.accuracy",
        "experiments/training/test_measurement.py",
    ),
    Mutation(
        "one_better_seed_replaces_the_selected_epoch_of_all",
        "experiments/training/measurement.py",
        "better = accuracy > selected.accuracy",
        "better = jnp.broadcast_to(jnp.any(accuracy > selected.accuracy), accuracy.shape)",
        "experiments/training/test_measurement.py",
    ),
    Mutation(
        "selected_parameters_keep_the_first_statistics",
        "experiments/training/measurement.py",
        "Selected(state.params, state.statistics, accuracy), selected)",
        "Selected(state.params, selected.statistics, accuracy), selected)",
        "experiments/training/test_measurement.py",
    ),
    Mutation(
        "selected_on_the_training_labels",
        "experiments/training/measurement.py",
        'jnp.asarray(measured["validation_accuracy"], jnp.float32)',
        'jnp.asarray(measured["train_accuracy"], jnp.float32)',
        "experiments/training/test_measurement.py",
    ),
    Mutation(
        "every_seed_measured_on_the_labels_of_the_first",
        "experiments/training/measurement.py",
        "np.take_along_axis(split.train_given, indices, axis=1)",
        "np.take_along_axis(split.train_given[:1], indices, axis=1)",
        "experiments/training/test_measurement.py",
    ),
    Mutation(
        "held_out_examples_weigh_the_epochs_of_the_audit",
        "experiments/training/measurement.py",
        "nox.audit.end_epoch(dynamics, where=jnp.arange(training + validation) < training)",
        "nox.audit.end_epoch(dynamics)",
        "experiments/training/test_measurement.py",
    ),
    Mutation(
        "held_out_pictures_in_the_normalisation",
        "experiments/training/setup.py",
        "measure_inputs(split.train_images, resolved_scaling",
        "measure_inputs(dataset.train_images, resolved_scaling",
        "experiments/training/test_setup.py",
    ),
    Mutation(
        "transformation_behind_the_norm_clip",
        "experiments/training/setup.py",
        "        chosen.transformation,\n"
        "        optimizers.l1_decay(optimization.l1_decay),\n"
        "        optax.identity() if limit is None else optax.clip_by_global_norm(limit),\n",
        "        optimizers.l1_decay(optimization.l1_decay),\n"
        "        optax.identity() if limit is None else optax.clip_by_global_norm(limit),\n"
        "        chosen.transformation,\n",
        "experiments/training/test_setup.py",
    ),
    Mutation(
        "steps_of_an_epoch_rounded_up",
        "experiments/training/setup.py",
        "steps_per_epoch = train_examples // optimization.batch_size",
        "steps_per_epoch = -(-train_examples // optimization.batch_size)",
        "experiments/training/test_setup.py",
    ),
    Mutation(
        "everything_is_drawn_from_the_same_key",
        "experiments/training/training_data.py",
        "(roots, i) for i, name in",
        "(roots, 0) for i, name in",
        "experiments/training/test_training_data.py",
    ),
    Mutation(
        "every_run_begins_with_seed_zero",
        "experiments/training/training_data.py",
        "range(experiment.first_seed, experiment.first_seed + experiment.seeds)",
        "range(experiment.seeds)",
        "experiments/training/test_training_data.py",
    ),
    Mutation(
        "changed_clean_labels_are_the_same_data",
        "experiments/training/training_data.py",
        "map(stream.identity, dataset[:5])",
        "map(stream.identity, dataset[:2])",
        "experiments/training/test_training_data.py",
    ),
    Mutation(
        "held_out_labels_are_those_of_other_examples",
        "experiments/training/training_data.py",
        "        given.given[:, validation],\n",
        "        given.given[:, : len(validation)],\n",
        "experiments/training/test_training_data.py",
    ),
    Mutation(
        "folds_that_overlap",
        "experiments/training/training_data.py",
        "held = (fold.number + 1) * len(order) // fold.of - start",
        "held = -(-len(order) // fold.of)",
        "experiments/training/test_training_data.py",
    ),
    Mutation(
        "ogc_with_a_constant_learning_rate",
        "experiments/methods.py",
        "learning_rate=setting.learning_rate,",
        "learning_rate=float(setting.learning_rate(0)),",
        "experiments/test_methods.py",
    ),
    Mutation(
        "dal_counts_steps_for_epochs",
        "experiments/methods.py",
        "losses.dal(setting.epochs, setting.steps_per_epoch,",
        "losses.dal(setting.epochs * setting.steps_per_epoch, setting.steps_per_epoch,",
        "experiments/test_methods.py",
    ),
    Mutation(
        "saner_ramps_over_the_epochs_of_the_run",
        "experiments/methods.py",
        "saner_scale(group_b_scale, scale_epochs, steps",
        "saner_scale(group_b_scale, setting.epochs, steps",
        "experiments/test_methods.py",
    ),
    Mutation(
        "saner_counts_steps_for_epochs",
        "experiments/methods.py",
        "scale_epochs, steps_per_epoch=setting.steps_per_epoch)",
        "scale_epochs, steps_per_epoch=1)",
        "experiments/test_methods.py",
    ),
    Mutation(
        "ogc_ignores_its_bound",
        "experiments/methods.py",
        "        epsilon=epsilon,\n",
        "        epsilon=20.0,\n",
        "experiments/test_methods.py",
    ),
    Mutation(
        "memorising_noticed_an_epoch_early",
        "experiments/methods.py",
        "math.ceil(time) for time in times",
        "math.floor(time) for time in times",
        "experiments/test_methods.py",
    ),
    Mutation(
        "two_owners_share_the_lock",
        "experiments/runs/run_folder.py",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "experiments/runs/test_owned.py::test_the_second_is_refused_in_one_line_and_told_by_whom",
    ),
    Mutation(
        "a_lock_on_a_file_that_is_gone",
        "experiments/runs/run_folder.py",
        "        if _is(path, file):\n",
        "        if True:\n",
        "experiments/runs/test_owned.py::test_a_lock_counts_only_where_others_look_for_it",
    ),
    Mutation(
        "metrics_behind_the_checkpoint_stay",
        "experiments/runs/run_folder.py",
        '    write_text(path, "".join(line + "\\n" for line in lines))\n',
        "",
        "experiments/runs/test_run_folder.py",
    ),
    Mutation(
        "arrays_of_another_shape_are_the_same",
        "experiments/runs/run_folder.py",
        '            digest.update(f"{array.dtype}{array.shape}".encode())\n',
        "",
        "experiments/runs/test_run_folder.py",
    ),
    Mutation(
        "a_transposed_array_is_hashed_as_it_lies",
        "experiments/runs/run_folder.py",
        "digest.update(np.ascontiguousarray(array).data)",
        'digest.update(array.tobytes(order="A"))',
        "experiments/runs/test_run_folder.py",
    ),
    Mutation(
        "half_a_file_takes_the_place_of_the_whole",
        "experiments/runs/run_folder.py",
        '    unfinished = path.with_name(path.name + ".unfinished")\n',
        "    unfinished = path\n",
        "experiments/runs/test_run_folder.py",
    ),
    Mutation(
        "a_field_that_is_new_is_no_difference",
        "experiments/runs/run_folder.py",
        "for key in sorted(old.keys() | new.keys()):",
        "for key in sorted(old.keys() & new.keys()):",
        "experiments/runs/test_run_folder.py",
    ),
)
