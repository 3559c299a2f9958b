"""What of a model decides its memory and its speed. Light: it is read at every start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDimensions:
    """The sizes of a model that decide its memory and its speed; 0 where the file says nothing.

    Attributes:
        layers: Blocks.
        width: Values of a hidden state.
        feed_forward: Values that a token widens to in one layer, its experts together.
        heads: Query heads.
        kv_width: Values of one token in the KV cache, in layers that see the whole context.
        window_width: The same, in layers that see a window of it.
        window: Tokens that such a layer sees.
        state: Bytes of the recurrent state of one sequence.
        vocabulary: Tokens.
        merges: Of the tokenizer.
        input: Bytes of the token embedding.
        lookup: Bytes of further tables of which a token needs one row.
        output: Bytes of the output matrix; 0 when the embedding serves for it.
        blocks: Bytes of the layers and of everything else.
        experts: Bytes of the experts, a part of ``blocks``.
        expert_share: Of the experts, those that one token goes through.
    """

    layers: int = 0
    width: int = 0
    feed_forward: int = 0
    heads: int = 0
    kv_width: int = 0
    window_width: int = 0
    window: int = 0
    state: int = 0
    vocabulary: int = 0
    merges: int = 0
    input: int = 0
    lookup: int = 0
    output: int = 0
    blocks: int = 0
    experts: int = 0
    expert_share: float = 0.0

    @property
    def weights(self) -> int:
        """Bytes of all weights."""
        return self.input + self.lookup + self.output + self.blocks

    @property
    def read_per_token(self) -> int:
        """Bytes of weights that are read to write one token."""
        idle = int(self.experts * (1 - self.expert_share))
        return self.blocks - idle + (self.output or self.input)
