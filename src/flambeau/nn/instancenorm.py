"""Instance normalisation."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from flambeau.nn import functional as F
from flambeau.nn.batchnorm import _LazyNormBase, _NormBase
from flambeau.tensor import Tensor

__all__ = [
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
]


class _InstanceNorm(_NormBase):
    _ndim: ClassVar[int]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def _check_input_dim(self, input: Tensor) -> None:
        n = self._ndim
        if input.dim() not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")

    def _channel_dim(self, input: Tensor) -> int:
        return input.dim() - self._ndim - 1

    def _apply_instance_norm(self, input: Tensor) -> Tensor:
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        dim = self._channel_dim(input)
        channels = input.size(dim)
        if channels != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={dim} to match num_features "
                    f"({self.num_features}), but got: {channels}."
                )
            warnings.warn(
                f"input's size at dim={dim} does not match num_features. You can silence this "
                "warning by not passing in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        if input.dim() == self._ndim + 1:
            return self._apply_instance_norm(input.unsqueeze(0)).squeeze(0)
        return self._apply_instance_norm(input)

    def _load_from_state_dict(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list,
        unexpected_keys: list,
        error_msgs: list,
    ) -> None:
        # Before version 2 the statistics were kept by default; nothing reads them without
        # track_running_stats, so a stray one is an error that says how to get rid of it.
        version = local_metadata.get("version")
        if version is None and not self.track_running_stats:
            stray = [
                prefix + name
                for name in ("running_mean", "running_var")
                if prefix + name in state_dict
            ]
            if stray:
                names = " and ".join(f'"{key}"' for key in stray)
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {names} for {self.__class__.__name__} "
                    "with track_running_stats=False. If state_dict is a checkpoint saved before "
                    "0.4.0, this may be expected because the class does not track running stats "
                    "by default since 0.4.0. Remove these keys from state_dict to fix the error, "
                    "or set track_running_stats=True to enable them."
                )
                for key in stray:
                    state_dict.pop(key)
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )


class InstanceNorm1d(_InstanceNorm):
    r"""Normalisation of each channel of each (N, C, L) or (C, L) signal by itself.

    .. math:: y = (x - \mathrm{E}[x]) / \sqrt{\mathrm{Var}[x] + \epsilon} \cdot \gamma + \beta

    [Ulyanov et al. 2016]. Parameters only with ``affine``, running statistics only with
    ``track_running_stats``.

    Raises: ``ValueError`` for another number of dimensions or, with ``affine``, of channels.

    >>> torch.nn.InstanceNorm1d(3)(torch.zeros(4, 3, 5)).shape
    torch.Size([4, 3, 5])
    """

    _ndim = 1


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of images (N, C, H, W) or (C, H, W).

    >>> torch.nn.InstanceNorm2d(3)(torch.zeros(4, 3, 5, 5)).shape
    torch.Size([4, 3, 5, 5])
    """

    _ndim = 2


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of volumes (N, C, D, H, W) or (C, D, H, W).

    >>> torch.nn.InstanceNorm3d(3)(torch.zeros(4, 3, 2, 2, 2)).shape
    torch.Size([4, 3, 2, 2, 2])
    """

    _ndim = 3


class _LazyInstanceNorm(_LazyNormBase):
    def _channel_dim(self, input: Tensor) -> int:
        return input.dim() - self._ndim - 1


class LazyInstanceNorm1d(_LazyInstanceNorm, InstanceNorm1d):
    """An ``InstanceNorm1d`` with ``num_features`` from its first input.

    >>> torch.nn.LazyInstanceNorm1d()(torch.zeros(4, 3, 5)).shape
    torch.Size([4, 3, 5])
    """

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyInstanceNorm, InstanceNorm2d):
    """An ``InstanceNorm2d`` with ``num_features`` from its first input.

    >>> torch.nn.LazyInstanceNorm2d()(torch.zeros(4, 3, 5, 5)).shape
    torch.Size([4, 3, 5, 5])
    """

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyInstanceNorm, InstanceNorm3d):
    """An ``InstanceNorm3d`` with ``num_features`` from its first input.

    >>> torch.nn.LazyInstanceNorm3d()(torch.zeros(4, 3, 2, 2, 2)).shape
    torch.Size([4, 3, 2, 2, 2])
    """

    cls_to_become = InstanceNorm3d


SAMPLES = {
    "nn.InstanceNorm1d": "4 | line; 4, 0.1, affine=True | line; 4, track_running_stats=True | line;"
    " 4, momentum=0.5, track_running_stats=True, affine=True | line[0]; !4 | image;"
    " !4 | line[:, :, :1]",
    "nn.InstanceNorm2d": "4 | image; 4, affine=True | image[0]; 4, 1e-3, 0.5, True, True | image;"
    " !4 | x",
    "nn.InstanceNorm3d": "2 | volume; 2, affine=True, track_running_stats=True | volume[0]; !2 | x",
    "nn.LazyInstanceNorm1d": "| line; affine=True | line; track_running_stats=True | line;"
    " !| image",
    "nn.LazyInstanceNorm2d": "| image; affine=True, track_running_stats=True | image; !| x",
    "nn.LazyInstanceNorm3d": "| volume; affine=True | volume; !| x",
}
