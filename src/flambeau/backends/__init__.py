"""``torch.backends``: switches and questions about libraries, answered for a CPU-only machine.

The switches (``cudnn.benchmark`` …) can be read and set, as scripts do; they choose between GPU
libraries, so they change nothing on the CPU.
"""

from flambeau.backends import cpu, cuda, cudnn, mkl, mkldnn, mps, openmp, opt_einsum, quantized

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum", "quantized"]

fp32_precision = "none"
