"""The arithmetic of a training: bfloat16 where it was asked for and the machine has instructions for it."""

from __future__ import annotations

import torch

__all__ = ["available", "computes_bf16"]


def available(asked: str, device: torch.device | str) -> str:
    """`asked` ("float32" or "bf16"), but "float32" where bfloat16 would only be emulated, at a tenth of the speed.

    >>> available("float32", "cpu")
    'float32'
    """
    return "float32" if asked == "bf16" and not computes_bf16(torch.device(device)) else asked


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16 (x86: AVX-512 BF16 or AMX; Arm: BF16)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(there for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)
