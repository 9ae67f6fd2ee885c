"""The audit once more, example by example, in numpy and in float64."""

import numpy as np
from scipy.special import expit, softmax
from scipy.stats import lognorm

# The shares and slopes that are considered, from their description.
SHARES = np.array([0.0, *expit(np.linspace(-6, 2.5, 60))])
SLOPES = np.geomspace(0.1, 30, 24)


class Dynamics:
    """What was recorded of each example, in lists and dictionaries."""

    def __init__(self, examples):
        self.examples = examples
        self.latest, self.epoch = {}, set()
        self.history = {i: [] for i in range(examples)}
        self.epochs = 0
        self.share = np.zeros(61)

    def record(self, indices, logits, labels, where=None):
        written = {}
        for row, (i, label) in enumerate(zip(indices, labels, strict=True)):
            kept = where is None or where[row]
            if (
                kept
                and 0 <= i < self.examples
                and np.isfinite(logits[row]).all()
                and 0 <= label < logits.shape[1]
            ):
                p = softmax(logits[row].astype(np.float64))
                margin = p[label] - np.delete(p, label).max()
                written.setdefault(int(i), []).append((margin, int(np.argmax(p))))
        for i, rows in written.items():
            self.latest[i] = (
                np.mean([margin for margin, _ in rows]),
                max(prediction for _, prediction in rows),
            )
            self.epoch.add(i)

    def end_epoch(self, where=None):
        counted = [self.latest[i][0] for i in sorted(self.epoch) if where is None or where[i]]
        if counted:
            self.epochs += 1
            negative = np.mean(np.array(counted) < 0)
            weight = np.var(counted) ** 2 * negative**4
            for i in self.epoch:
                self.history[i].append((weight, *self.latest[i]))
            so_far = [self.mean_margin(i) for i in sorted(self.epoch) if where is None or where[i]]
            self.share += (np.var(counted) * negative) ** 3 * posterior(counted, so_far).sum(axis=1)
        self.epoch = set()

    def mean_margin(self, i):
        total = sum(weight for weight, _, _ in self.history[i])
        if total > 0:
            return sum(weight * margin for weight, margin, _ in self.history[i]) / total
        return self.latest.get(i, (0.0, -1))[0]

    def vote(self, i):
        """Class and share of the lead, by Boyer and Moore."""
        total = sum(weight for weight, _, _ in self.history[i])
        if total == 0:
            return self.latest.get(i, (0.0, -1))[1], 1.0
        vote, lead = None, 0.0
        for weight, _, prediction in self.history[i]:
            if prediction == vote:
                lead += weight
            elif weight > lead:
                vote, lead = prediction, weight - lead
            else:
                lead -= weight
        return vote, lead / total


def middle(confidence):
    """The middle of the step that a confidence falls into; there are 48 steps up to 4."""
    return (np.minimum(np.floor(confidence * 12), 47) + 0.5) / 12


def posterior(margins, so_far):
    """The probability of each share and slope, `[61, 24]`, given margins and their means over epochs."""
    margins = np.array(margins)
    confidence = middle(np.abs(margins) / np.abs(margins).mean())
    likelihood = np.zeros((len(SHARES), len(SLOPES)))
    for i, share in enumerate(SHARES):
        for j, slope in enumerate(SLOPES):
            mistaken = expit(-slope * confidence)
            contradicts = (1 - share) * mistaken + share * (1 - mistaken)
            contradicts = np.clip(contradicts, 1e-6, 1 - 1e-6)
            likelihood[i, j] = np.mean(np.log(np.where(margins < 0, contradicts, 1 - contradicts)))
    worth = 1 / (1 / len(margins) + 1 / 200)
    doubt = np.mean(np.abs(so_far) < np.abs(so_far).mean() / 2)
    median = 2.5 * np.sqrt(0.27 / (doubt + 0.02))
    # The density of the logarithm of the slope: that of the slope, times the slope.
    prior = lognorm.pdf(SLOPES, 0.5, scale=median) * SLOPES * np.gradient(SHARES)[:, None]
    found = prior * np.exp(worth * (likelihood - likelihood.max()))
    return found / found.sum()


def probabilities(margins, share):
    """The probability that each label is wrong, with each share as probable as given."""
    joint = posterior(margins, margins)
    slopes = joint / joint.sum(axis=1, keepdims=True)
    unit = np.abs(margins).mean()
    with np.errstate(divide="ignore"):
        odds = np.log(SHARES / (1 - SHARES))
    return [
        np.sum(share[:, None] * slopes * expit(odds[:, None] - SLOPES * np.clip(m / unit, -4, 4)))
        for m in margins
    ]


def lacking(predictions, labels):
    """How much of each class's number of labels the predictions lack, the mean over the classes."""
    found = []
    for number in np.unique(labels):
        found.append(max(1 - np.sum(predictions == number) / np.sum(labels == number), 0))
    return np.mean(found)


def judge(replicas, labels):
    """Probabilities, scores, suggestions, the shares, and whether the model has learnt."""
    examples = len(labels)
    known = np.array([any(i in own.latest for own in replicas) for i in range(examples)])
    margin = np.mean([[own.mean_margin(i) for i in range(examples)] for own in replicas], axis=0)
    share = np.mean([own.share / own.share.sum() for own in replicas], axis=0)
    lack = []
    for own in replicas:
        rows = sorted(own.latest)
        lack.append(lacking(np.array([own.latest[i][1] for i in rows]), labels[rows]))
    probability = np.zeros(examples)
    probability[known] = probabilities(margin[known], share)
    suggested = []
    for i, label in enumerate(labels):
        leads = {}
        for own in replicas:
            vote, lead = own.vote(i)
            if vote >= 0:
                leads[vote] = leads.get(vote, 0.0) + lead
        best = max(leads.values(), default=0.0)
        suggested.append(min((vote for vote, lead in leads.items() if lead == best), default=label))
    return probability, -margin, suggested, share, np.mean(lack) < 0.2, known
