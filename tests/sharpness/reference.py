"""The methods a second time, in numpy on one flat vector, as the papers write them: with divisions."""

import numpy as np


class Reference:
    """One method with its memory; `step(g, w, grad)` gives the update."""

    def __init__(
        self, perturbation, combination, *, rho, sigma=1.0, decay=0.9, theta=0.2, gsam_alpha=0.0, b_scale=1.0
    ):
        self.perturbation, self.combination, self.rho = perturbation, combination, rho
        self.sigma, self.decay, self.theta = sigma, decay, theta
        self.gsam_alpha, self.b_scale, self.mean = gsam_alpha, b_scale, None

    def perturb(self, g, w):
        if self.perturbation == "asam":
            return self.rho * w**2 * g / np.linalg.norm(w * g)
        direction = g
        if self.perturbation == "friendly":
            if self.mean is None:
                self.mean = g
            else:
                direction = g - self.sigma * self.mean
                self.mean = self.decay * self.mean + (1 - self.decay) * g
        if self.perturbation == "vasso":
            self.mean = g if self.mean is None else (1 - self.theta) * self.mean + self.theta * g
            direction = self.mean
        return self.rho * direction / np.linalg.norm(direction)

    def step(self, g, w, grad):
        s = grad(w + self.perturb(g, w))
        if "gsam" in self.combination:
            s = s - self.gsam_alpha * (g - (g @ s) / (s @ s) * s)
        if "saner" in self.combination:
            ratio = s / g
            s = np.where((ratio > 0) & (ratio < 1), self.b_scale * s, s)
        return s
