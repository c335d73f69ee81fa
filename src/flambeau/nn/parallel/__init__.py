"""``torch.nn.parallel`` for one process: models that would be spread over devices stay whole."""

from flambeau.nn.parallel import distributed
from flambeau.nn.parallel.data_parallel import DataParallel, data_parallel
from flambeau.nn.parallel.distributed import DistributedDataParallel

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel", "distributed"]
