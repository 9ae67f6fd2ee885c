"""Labels of every form that people have: the same classes, or a sentence that says what is wrong."""

import numpy as np
import pytest

from experiments.data import class_labels
from experiments.data.class_labels import Classes
from experiments.terminal import UserError

TRUE = np.array([2, 0, 1, 1])


def indices(labels, **options):
    found, classes = class_labels.to_indices("here", {"labels": labels}, {"labels": len(labels)}, **options)
    assert found["labels"].dtype == np.int32
    return found["labels"].tolist(), classes


@pytest.mark.parametrize(
    "labels",
    [
        TRUE,
        TRUE.astype(float),
        TRUE.astype(np.float16),
        TRUE.astype(np.uint8)[:, None],
        np.eye(3)[TRUE],
        np.eye(3, dtype=int)[TRUE],
        np.array([[0.2, 0.1, 0.7], [1, 0, 0], [0.2, 0.5, 0.3], [0, 1, 0]]),
        # Three people, who did not look at everything.
        np.array([[2, 2, 0], [0, -1, -1], [1, 1, 1], [1, -1, 0]]),
    ],
)
def test_numbers_of_every_form(labels):
    assert indices(labels) == (TRUE.tolist(), Classes(3, None))


def test_a_tie_goes_to_the_class_with_more_votes_in_all():
    assert indices(np.array([[0, 2], [0, 1], [0, 0], [2, 1], [1, -1]]))[0] == [0, 0, 0, 1, 1]
    assert indices(np.array([[0, 2], [2, 1], [2, 2], [0, 1], [0, -1]]))[0] == [2, 2, 2, 0, 0]


def test_names_are_classes_in_their_order_over_all_parts():
    arrays = {"train": np.array(["dog", "cat"]), "test": np.array([b"emu", b"cat"])}
    found, classes = class_labels.to_indices("here", arrays, {"train": 2, "test": 2})
    assert classes == Classes(3, ("cat", "dog", "emu"))
    assert {name: own.tolist() for name, own in found.items()} == {"train": [1, 0], "test": [2, 0]}
    assert indices(np.array(["10", "9"]))[1].names == ("9", "10")
    assert indices(np.array(["no", "yes"]), names=("yes", "no", "maybe"))[0] == [1, 0]
    assert indices(TRUE, num_classes=5)[1] == Classes(5, None)


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        (np.array([0.5, 1]), {}, "must be class numbers or names, got 0.5 at index 0"),
        (np.array([1, np.nan]), {}, "got nan at index 1"),
        (np.array([1e300, 1]), {}, r"got 1e\+300 at index 0"),
        (np.array([0, 3]), {"num_classes": 3}, r"must be in \[0, 3\), got 3 at index 1"),
        (np.array(["a", " "]), {}, "labels has no name at index 1"),
        (np.array(["a", "b"]), {"names": ("a", "c")}, "label 'b' is not among the class names"),
        (np.array(["a", "b"]), {"num_classes": 2}, "labels are names; expected numbers of 2 classes"),
        (np.array([[0, 1], [-1, -1]]), {}, r"at least one vote in each row, got \[-1, -1\] at index 1"),
        (np.array([[0.5, 0.2], [0.5, 0.5]]), {}, "expected rows of probabilities, of sum 1"),
        (np.zeros((2, 2, 2)), {}, r"got shape \[2, 2, 2\]"),
        (np.zeros(2, "datetime64[s]"), {}, "must be class numbers or names, got datetime64"),
        (np.full(4, 6e4, np.float16), {"num_classes": 3}, "60000"),
        (np.full((4, 3), 6e4, np.float16), {}, "expected rows of probabilities"),
    ],
)  # fmt: skip
def test_what_is_no_label_is_named(labels, options, said):
    with pytest.raises(UserError, match=said):
        indices(labels, **options)


def test_classes_without_examples_are_told_and_most_classes_are_a_mistake():
    with pytest.warns(UserWarning, match="of 4 classes, 0 has no training example; .* count from 1 need 1"):
        class_labels.check_empty_classes("here", np.array([1, 2, 3]), Classes(4, None))
    with pytest.warns(UserWarning, match="of 3 classes, ant, cat have no training example$"):
        class_labels.check_empty_classes("here", np.array([1]), Classes(3, ("ant", "bee", "cat")))
    mistaken = np.array([0, 255])
    with pytest.raises(UserError, match="make 256 classes, of which 254 have no example"):
        class_labels.check_empty_classes("here", mistaken, Classes(256, None))
    with pytest.warns(UserWarning, match="and 251 more have no training example"):
        class_labels.check_empty_classes("here", mistaken, Classes(256, None), num_classes=256)


def test_labels_to_compare_with_are_those_of_the_run():
    run = Classes(2, ("no", "yes"))
    found = class_labels.known_to("here", "labels", np.array(["yes", "no"]), 2, run)
    assert found.tolist() == [1, 0]
    with pytest.warns(UserWarning, match="labels ignored, since the run has 2 classes: .* 'perhaps'"):
        assert class_labels.known_to("here", "labels", np.array(["perhaps", "no"]), 2, run) is None
