"""The loop of Caffe's solver in one process: training nets, test nets, displays, snapshots, signals."""

from batchbrew.solver.stepper.actions import Action, Signals
from batchbrew.solver.stepper.stepper import Stepper

__all__ = ["Action", "Signals", "Stepper"]
