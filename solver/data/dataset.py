"""The door to the data: everything other packages need about data sets, in one place.

    from batchbrew.solver.data import dataset
    cifar = dataset.resolve("cifar10")          # or a path; "generated" needs no files
    images, labels = cifar.train.take(indices)

`part` holds what an open data set is, `prepared` the file format, `catalog` names, making and downloading; `store`
opens LMDB and LevelDB, `records` reads the samples in them.
"""

from __future__ import annotations

from batchbrew.solver.data.catalog import Row, data_home, get, listing, make, open_samples, read_parts, resolve
from batchbrew.solver.data.part import DataSet, Part, Samples
from batchbrew.solver.data.prepared import content_digest, mean_image, open_dataset, write_dataset

__all__ = [
    "DataSet",
    "Part",
    "Row",
    "Samples",
    "content_digest",
    "data_home",
    "get",
    "listing",
    "make",
    "mean_image",
    "open_dataset",
    "open_samples",
    "read_parts",
    "resolve",
    "write_dataset",
]
