"""Tier 1: programs of fused kernels, compiled by LLVM for this machine."""
