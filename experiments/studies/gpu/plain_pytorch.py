"""The other side of `speed`: ResNet-18 with the CIFAR stem in a plain PyTorch training loop.

What a good script of the field does, with the recipe of optimized gradient clipping on CIFAR-10: crops and
flips, SGD with momentum and weight decay, the global norm of the gradient clipped at 5, and the loss of each
step read for the log. Needs PyTorch, which nothing else here does.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        """`[B, C, H, W]` to the same with other channels."""
        y = self.second_norm(self.second(functional.relu(self.first_norm(self.first(x)))))
        return functional.relu(y + self.shortcut(x))


def resnet18(num_classes: int) -> nn.Module:
    """ResNet-18 for images of 32x32."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, num_classes))


def training_epoch(
    images: np.ndarray, labels: np.ndarray, num_classes: int, batch_size: int, *, bfloat16: bool
) -> Callable[[], list[float]]:
    """A function that trains an epoch on `images`, uint8 `[N, H, W, 3]`, and returns the losses."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    model = resnet18(num_classes).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    given = torch.from_numpy(labels.astype(np.int64))
    mean = torch.tensor([125.3, 123.0, 113.9], device=device).view(1, 3, 1, 1)
    deviation = torch.tensor([63.0, 62.1, 66.7], device=device).view(1, 3, 1, 1)

    def epoch():
        model.train()
        losses = []
        for batch in torch.randperm(len(pixels))[: len(pixels) // batch_size * batch_size].split(batch_size):
            x = pixels[batch].to(device, non_blocking=True).float()
            y = given[batch].to(device, non_blocking=True)
            x = augment((x - mean) / deviation).to(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
                logits = model(x)
            loss = functional.cross_entropy(logits.float(), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            losses.append(loss.item())
        return losses

    return epoch


def peak_bytes() -> int | None:
    """The most memory that tensors have had on the GPU so far; None without one."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def augment(images: torch.Tensor) -> torch.Tensor:
    """A random crop of the padded image and, half of the time, its mirror image, drawn per example."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (4, 4, 4, 4))
    offsets = torch.randint(0, 9, (2, count, 1), device=images.device)
    rows = offsets[0] + torch.arange(height, device=images.device)
    columns = offsets[1] + torch.arange(width, device=images.device)
    flipped = torch.rand(count, 1, device=images.device) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    example = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[example, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
