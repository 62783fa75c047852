"""What losses share: sums and their divisors, labels without gradients, normalization."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import Array, Builder, Layer


class Loss(Layer):
    """A layer whose first top is a scalar to be made small.

    While training, kernels yield plain sums; what a mean would divide by is counted beside them (``self.stat``), so
    that a batch may be cut up in any way and divided once.
    """

    bottoms = (2, 2)
    loss = True
    statistic = True

    @abstractmethod
    def divisor_per_sample(self) -> float | None:
        """Return the divisor of the mean over the number of samples, or None where it depends on the data."""


class LabelledLoss(Loss):
    """A loss of predictions against labels, in the mean over samples.

    ``labels`` is the number of the bottom that holds them; neither it nor what follows it has a gradient.
    """

    labels: ClassVar[int] = 1

    def may_force(self, bottom: int) -> bool:
        """Predictions have a gradient."""
        return bottom < self.labels

    def divisor_per_sample(self) -> float | None:
        """Return 1."""
        return 1.0

    def check_samples(self, bottoms: Sequence[Shape]) -> int:
        """Return N, the first axis of predictions and labels. Raises UserError where they differ."""
        read = bottoms[: self.labels + 1]
        if not read[0] or any(shape[:1] != read[0][:1] for shape in read):
            shapes = ", ".join(map(str, read))
            raise self.error(f"needs predictions and labels of equally many samples (axis 0), found {shapes}")
        return read[0][0]

    def refuse_labels(self, needed: Sequence[bool]) -> None:
        """Raise UserError if a gradient of the labels is asked for."""
        if any(needed[self.labels :]):
            raise self.error("cannot propagate a gradient to its labels")

    def results(self, build: Builder, top: Sequence[Blob]) -> tuple[Array, Array, Array]:
        """Return what forward kernels write: the loss, its divisor, and the statistic."""
        self.norm = by_lane(build, "norm", build.scratch("norm", (1,)))
        return by_lane(build, "loss", top[0].data.reshape(1)), self.norm, self.stat

    def factor(self, build: Builder) -> float:
        """Return what gradients are multiplied by while losses yield sums."""
        return build.factors.get(self.salt, 1.0)


class NormalizedLoss(LabelledLoss):
    """A labelled loss whose divisor loss_param chooses: FULL, VALID, BATCH_SIZE or NONE.

    ``reshape`` must set ``outer`` (what BATCH_SIZE divides by), ``targets`` (what FULL divides by) and ``samples``.
    """

    default: ClassVar[int] = pb.LossParameter.VALID
    outer = targets = samples = 1

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read normalization (or the older normalize) and ignore_label."""
        p = self.param.loss_param
        self.normalization: int = p.normalization if p.HasField("normalization") else self.default
        if p.HasField("normalize") and not p.HasField("normalization"):
            self.normalization = pb.LossParameter.VALID if p.normalize else pb.LossParameter.BATCH_SIZE
        self.ignores = p.HasField("ignore_label")
        self.ignored: int = p.ignore_label

    def divisor_per_sample(self) -> float | None:
        """Return what normalization says."""
        if self.normalization == pb.LossParameter.NONE or (
            self.ignores and self.normalization == pb.LossParameter.VALID
        ):
            return None
        whole = self.outer if self.normalization == pb.LossParameter.BATCH_SIZE else self.targets
        return whole / self.samples

    def settings(self, build: Builder) -> tuple[int, ...]:
        """Return what forward kernels need to know to find the divisor."""
        each = max(1, self.targets // max(1, self.outer))  # of a sample: kernels may see only some of them
        return (each, self.normalization, int(self.ignores), self.ignored, int(build.sums))


def by_lane(build: Builder, name: str, result: Array) -> Array:
    """Return where kernels write a result: while sums are formed nobody reads it, so each thread has its own place."""
    return build.scratch(name, (build.lanes, *result.shape[1:])) if build.sums and build.lanes > 1 else result
