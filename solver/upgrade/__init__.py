"""Nets and solvers in older formats of Caffe, changed to the current one; one file a step.

>>> from batchbrew.protos import messages as pb
>>> net = pb.NetParameter(input=["data"], input_dim=[1, 3, 4, 4])
>>> notes = upgrade_net(net)
>>> net.layer[0].type, list(net.layer[0].top), list(net.layer[0].input_param.shape[0].dim)
('Input', ['data'], [1, 3, 4, 4])
"""

from batchbrew.solver.upgrade.draft import Note
from batchbrew.solver.upgrade.files import read_net
from batchbrew.solver.upgrade.net import outdated_net, upgrade_net, upgraded
from batchbrew.solver.upgrade.solver_file import outdated_solver, upgrade_solver

__all__ = ["Note", "outdated_net", "outdated_solver", "read_net", "upgrade_net", "upgrade_solver", "upgraded"]
