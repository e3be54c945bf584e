"""Token embeddings of the package wordllama."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from torch import Tensor, nn

from metarun.backbones.ngrams import unit
from metarun.data.tokens import NO_TOKEN, Tokens, package_folder
from metarun.errors import Refused

VOCABULARY, FEATURES = 32_000, 256
WEIGHTS = ("weights", "l2_supercat_256.safetensors"), "embedding.weight"  # file, and name in it


class WordLlama(nn.Module):
    """The mean of the embeddings of a sentence's tokens, scaled to a fixed norm: 256 features.

    The embeddings are those of the package wordllama (MIT; Miller 2024,
    https://github.com/dleemiller/WordLlama). They were trained on pairs of similar texts, starting
    from the token embeddings of the language models Llama 2 and Phi-3, whose own training texts
    are not published.

    Args:
        shape: (tokens,) of one item, token ids with `NO_TOKEN` after the end of the sentence.
        tokens: largest number of tokens of a sentence; the data set prepares its items with it.
        scale: norm of the features. Without a fixed norm, sentences with many frequent words would
            be close to each other.

    Attributes:
        pretraining: what the embeddings have seen, for the protocol.

    Raises:
        Refused: the package is not installed, or items are not token ids.
    """

    pretraining = "text (wordllama, from token embeddings of Llama 2 and Phi-3)"
    features = FEATURES

    def __init__(
        self, shape: tuple[int, ...], *, tokens: Tokens = 128, scale: PositiveFloat = 3.0
    ) -> None:
        super().__init__()
        if tuple(shape) != (tokens,):
            raise Refused(
                f"backbone=wordllama: takes sentences as {tokens} token ids, the data has "
                f"{tuple(shape)}; data=banking77 and data=clinc150 have sentences"
            )
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(VOCABULARY, FEATURES))
        folder = package_folder()
        if not self.weight.is_meta:
            from safetensors.torch import load_file

            path, name = WEIGHTS
            with torch.no_grad():
                self.weight.copy_(load_file(folder.joinpath(*path))[name])

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens) integers → (B, 256)."""
        rows = F.embedding(x.clamp(min=0), self.weight)
        # The sum has the direction of the mean.
        return self.scale * unit((rows * (x != NO_TOKEN).unsqueeze(-1)).sum(1))
