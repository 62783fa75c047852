"""The nets of the comparison in PyTorch, with the arithmetic of those in netdefs/.

``cifar10_full`` normalises across channels, where Caffe's does within each: PyTorch has no other.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


def down(kind: type[nn.Module], size: int = 3) -> nn.Module:
    """Return pooling of stride 2 with Caffe's rounding."""
    return kind(size, 2, ceil_mode=True)


def conv5(inputs: int, outputs: int, pad: int = 2) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 5, padding=pad)


def cifar10_quick() -> nn.Module:
    """Return Caffe's cifar10_quick."""
    return nn.Sequential(
        conv5(3, 32), down(nn.MaxPool2d), nn.ReLU(),
        conv5(32, 32), nn.ReLU(), down(nn.AvgPool2d),
        conv5(32, 64), nn.ReLU(), down(nn.AvgPool2d),
        nn.Flatten(), nn.Linear(1024, 64), nn.Linear(64, 10),
    )  # fmt: skip


def cifar10_full() -> nn.Module:
    """Return Caffe's cifar10_full."""
    return nn.Sequential(
        conv5(3, 32), down(nn.MaxPool2d), nn.ReLU(), nn.LocalResponseNorm(3, 5e-5, 0.75),
        conv5(32, 32), nn.ReLU(), down(nn.AvgPool2d), nn.LocalResponseNorm(3, 5e-5, 0.75),
        conv5(32, 64), nn.ReLU(), down(nn.AvgPool2d),
        nn.Flatten(), nn.Linear(1024, 10),
    )  # fmt: skip


def lenet() -> nn.Module:
    """Return Caffe's LeNet."""
    return nn.Sequential(
        conv5(1, 20, 0), down(nn.MaxPool2d, 2), conv5(20, 50, 0), down(nn.MaxPool2d, 2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut that skips pixels and adds channels of zeros (option A)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.more = 1 if inputs == outputs else 2, outputs - inputs
        self.body = nn.Sequential(*conv3(inputs, outputs, self.stride), nn.ReLU(inplace=True), *conv3(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        beside = x
        if self.more:
            beside = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return F.relu_(self.body(x) + beside)


def conv3(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)


def resnet20_cifar10() -> nn.Module:
    """Return ResNet-20 for CIFAR-10 (He et al. 2015)."""
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    return nn.Sequential(
        *conv3(3, 16), nn.ReLU(inplace=True),
        *(Block(a, b) for a, b in pairwise(widths)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


NETS = {make.__name__: make for make in (cifar10_quick, cifar10_full, lenet, resnet20_cifar10)}
