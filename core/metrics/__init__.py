"""How good a render and a representation are."""

from .image import depth_error, psnr, token_cosine
from .representation import effective_rank, feature_spread

__all__ = ["depth_error", "effective_rank", "feature_spread", "psnr", "token_cosine"]
