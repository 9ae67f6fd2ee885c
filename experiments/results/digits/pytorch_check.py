"""The protocol of published.json in plain PyTorch, with more seeds than the three stored there.

Three seeds leave a standard error of one to four points. This is our own second implementation, for the
question whether a difference from published.json is ours or chance. It needs torch and scikit-learn:

    python experiments/results/digits/pytorch_check.py > experiments/results/digits/pytorch_check.json
"""

import json
import math

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

RATE, EPOCHS, BATCH, SEEDS = 0.4, 100, 64, range(100, 130)


def phuber(logits, labels):
    p = torch.softmax(logits, 1).gather(1, labels[:, None])[:, 0]
    return torch.where(p > 0.1, -torch.log(p), math.log(10) + 1 - 10 * p).mean()


def mean_absolute_error(logits, labels):
    return (1 - torch.softmax(logits, 1).gather(1, labels[:, None])[:, 0]).mean()


cross_entropy = torch.nn.functional.cross_entropy


def sgd(model, loss, epoch):
    """One gradient, its norm clipped."""
    loss().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)


def sam(model, loss, epoch, group_b_scale=1.0):
    """The gradient at the end of a step of length 0.1 uphill, no norm clip."""
    parameters = list(model.parameters())
    first = torch.autograd.grad(loss(), parameters)
    norm = torch.sqrt(sum((g**2).sum() for g in first))
    with torch.no_grad():
        for w, g in zip(parameters, first, strict=True):
            w.add_(0.1 * g / norm)
    second = torch.autograd.grad(loss(), parameters)
    with torch.no_grad():
        for w, g, s in zip(parameters, first, second, strict=True):
            w.sub_(0.1 * g / norm)
            ratio = s / (g + 1e-8)
            w.grad = torch.where((ratio > 0) & (ratio < 1), group_b_scale * s, s)


def saner(model, loss, epoch):
    """SAM with Group B scaled, down to one half in 25 epochs."""
    sam(model, loss, epoch, 1 - 0.5 * min(epoch + 1, 25) / 25)


METHODS = {
    "cross_entropy": (cross_entropy, sgd),
    "phuber_cross_entropy": (phuber, sgd),
    "mean_absolute_error": (mean_absolute_error, sgd),
    "cross_entropy+sam": (cross_entropy, sam),
    "cross_entropy+saner:scale_epochs=25": (cross_entropy, saner),
}


def run(seed, method, train_x, train_y, test_x, test_y):
    loss, set_gradient = method
    rng, n = np.random.default_rng(seed), len(train_y)
    wrong = rng.permutation(n)[: round(RATE * n)]
    given = train_y.copy()
    given[wrong] = (given[wrong] + rng.integers(1, 10, len(wrong))) % 10
    given = torch.tensor(given)
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    accuracies = []
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * epoch / EPOCHS))
        order = torch.randperm(n)
        for batch in order[: n // BATCH * BATCH].reshape(-1, BATCH):
            optimizer.zero_grad()
            set_gradient(model, lambda x=train_x[batch], y=given[batch]: loss(model(x), y), epoch)
            optimizer.step()
        with torch.no_grad():
            accuracies.append((model(test_x).argmax(1) == test_y).double().mean().item())
    return float(np.mean(accuracies[-10:]))


def main():
    torch.set_num_threads(1)
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels / 16).astype(np.float32)
    parts = train_test_split(pixels, labels, test_size=450, stratify=labels, random_state=0)
    train_x, test_x, train_y, test_y = parts
    data = torch.tensor(train_x), train_y, torch.tensor(test_x), torch.tensor(test_y)
    results = {name: [run(seed, method, *data) for seed in SEEDS] for name, method in METHODS.items()}
    print(json.dumps({"torch": torch.__version__, "seeds": list(SEEDS), "last_10_mean": results}, indent=1))


if __name__ == "__main__":
    main()
