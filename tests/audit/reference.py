"""The audit once more, example by example, in numpy and in float64."""

import numpy as np
from scipy.special import expit, softmax


class Dynamics:
    """What was recorded of each example, in lists and dictionaries."""

    def __init__(self, examples):
        self.examples = examples
        self.latest, self.epoch = {}, set()
        self.history = {i: [] for i in range(examples)}
        self.unpredicted = []

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
            share = np.mean(np.array(counted) < 0)
            self.unpredicted.append(share)
            weight = np.var(counted) ** 2 * share**4
            for i in self.epoch:
                self.history[i].append((weight, *self.latest[i]))
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

    def early_disagreement(self):
        return self.unpredicted[len(self.unpredicted) // 10]


def judge(replicas, labels):
    """Probabilities, scores, suggestions and the early disagreement."""
    examples = len(labels)
    margin = np.mean([[own.mean_margin(i) for i in range(examples)] for own in replicas], axis=0)
    disagreement = np.mean([own.early_disagreement() for own in replicas])
    log_odds = -4.5 * margin / np.abs(margin).mean()
    allowed = int(disagreement * examples)
    if np.sum(log_odds > 0) > allowed:
        falling = np.sort(log_odds)[::-1]
        log_odds -= falling[0] if allowed == 0 else (falling[allowed - 1] + falling[allowed]) / 2
    suggested = []
    for i, label in enumerate(labels):
        leads = {}
        for own in replicas:
            vote, lead = own.vote(i)
            if vote >= 0:
                leads[vote] = leads.get(vote, 0.0) + lead
        best = max(leads.values(), default=0.0)
        suggested.append(min((vote for vote, lead in leads.items() if lead == best), default=label))
    return expit(log_odds), -margin, suggested, disagreement
