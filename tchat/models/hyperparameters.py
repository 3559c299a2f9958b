"""The shape of a model by its maker's configuration: how many weights it has, and where.

What its layers hold follows the tensors of llama.cpp's ``src/models/*.cpp``; norms and biases, some
thousandths of all weights, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from tchat.models.memory import FLOAT, ModelDimensions

MAMBA, DELTA, SHORTCONV = "mamba", "delta", "shortconv"
MIXERS = (MAMBA, DELTA, SHORTCONV)
LAUREL_RANK = 64  # of Gemma 3n


class Bits(NamedTuple):
    """Bits per weight, by the tensor."""

    blocks: float
    output: float
    input: float


# Bits per weight of llama.cpp's quantizations, measured from file sizes on the hub.
BITS = MappingProxyType(
    {
        "BF16": Bits(16, 16, 16),
        "F16": Bits(16, 16, 16),
        "Q8_0": Bits(8.5, 8.5, 8.5),
        "Q6_K": Bits(6.57, 6.5625, 6.5625),
        "Q5_K_M": Bits(5.67, 6.5625, 5.5),
        "Q4_K_M": Bits(4.82, 6.5625, 4.5),
        "Q4_0": Bits(4.55, 6.5625, 4.5),
        "Q3_K_M": Bits(3.85, 6.5625, 3.4375),
        "Q2_K": Bits(2.95, 6.5625, 2.625),
        "MXFP4": Bits(4.4, 8.5, 8.5),
    }
)


# Bits more of weights whose rows are no multiple of 256: K-quantizations are replaced there by
# larger ones (llama.cpp, `llama-quant.cpp`). First of most weights, then of those of ``ffn_down``.
FALLBACK_BITS = MappingProxyType(
    {
        "Q6_K": (1.94, 1.94),
        "Q5_K_M": (0.5, 1.2),
        "Q4_K_M": (1.0, 1.47),
        "Q3_K_M": (1.06, 1.2),
        "Q2_K": (1.87, 1.5),
    }
)
ROW = 256  # weights of a block of a K-quantization
DYNAMIC = "UD-"  # begins the names of Unsloth's variants, which are about as large


def known_quantization(name: str) -> bool:
    """Whether the size of a file in this quantization can be told."""
    return name.removeprefix(DYNAMIC) in BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """The shape of a model; 0 for what it does not have.

    Attributes:
        layers: Number of layers.
        width: Size of a hidden state.
        vocabulary: Tokens in the vocabulary.
        tied: Whether the output matrix is the embedding.
        unembedded: Whether it has no output matrix at all, as embedding models.
        positions: Learnt positions, each as wide as a hidden state.
        feed_forward: Size of a dense feed-forward layer.
        ungated: Whether a feed-forward layer has two matrices, not three.
        feed_forward_layers: Layers with a feed-forward part, where not all have one.
        heads: Query heads.
        kv_heads: Heads of keys and values.
        head: Size of a head.
        gated_attention: Whether queries are twice as wide: half of them gate the output.
        window: Tokens of the sliding window, in all layers but each `whole_every`-th.
        whole_every: See ``window``.
        whole_head: Size of a head in layers without a window, where it differs.
        whole_kv_heads: Heads of keys and values there, where they differ.
        whole_kv_equal: Whether keys are the values there.
        kv_shared_layers: Layers, the last ones, that use keys and values of earlier ones.
        kv_shared_feed_forward: Size of a feed-forward layer in these, where it differs.
        kv_rank: Size of the latent of keys and values (MLA).
        q_rank: Size of the latent of queries (MLA).
        rope_head: Part of a head that tells positions (MLA).
        value_head: Size of a head of values (MLA).
        experts: Number of experts.
        experts_used: Experts that are active for a token.
        expert_width: Size of an expert.
        shared_width: Size of the part beside the experts that is always active.
        dense_layers: Layers, the first ones, without experts.
        mixer: What recurrent layers are made of: ``mamba``, ``delta``, ``shortconv``.
        recurrent_layers: Their number; the others have attention.
        attention_layers: Layers with attention, where it is not all others.
        inner: Inner size of a recurrent layer.
        state: Size of its state.
        groups: Its groups, or heads of keys.
        mixer_heads: Its heads.
        kernel: Its convolution, in tokens.
        per_layer: Size of the embedding that each layer has of its own (Gemma 3n, Gemma 4).
        altup: Parallel hidden states (Gemma 3n).
    """

    layers: int = 0
    width: int = 0
    vocabulary: int = 0
    tied: bool = False
    unembedded: bool = False
    positions: int = 0
    feed_forward: int = 0
    ungated: bool = False
    feed_forward_layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    head: int = 0
    gated_attention: bool = False
    window: int = 0
    whole_every: int = 1
    whole_head: int = 0
    whole_kv_heads: int = 0
    whole_kv_equal: bool = False
    kv_shared_layers: int = 0
    kv_shared_feed_forward: int = 0
    kv_rank: int = 0
    q_rank: int = 0
    rope_head: int = 0
    value_head: int = 0
    experts: int = 0
    experts_used: int = 0
    expert_width: int = 0
    shared_width: int = 0
    dense_layers: int = 0
    mixer: str = ""
    recurrent_layers: int = 0
    attention_layers: int = 0
    inner: int = 0
    state: int = 0
    groups: int = 0
    mixer_heads: int = 0
    kernel: int = 4
    per_layer: int = 0
    altup: int = 0

    @property
    def parameters(self) -> int:
        """Weights, all parts together."""
        tables = self.embedding + self.output + self.lookup
        return (
            tables
            + self._attention_parameters
            + self._recurrent_parameters
            + self._feed_forward_parameters
            + self._per_layer_parameters
        )

    @property
    def embedding(self) -> int:
        """Weights of the token embedding."""
        return self.vocabulary * self.width

    @property
    def output(self) -> int:
        """Weights of the output matrix; 0 when it is the embedding."""
        return 0 if self.tied or self.unembedded else self.embedding

    @property
    def lookup(self) -> int:
        """Weights of tables of which a token needs one row."""
        return self.vocabulary * self.per_layer * self.layers + self.positions * self.width

    @property
    def expert_weights(self) -> int:
        """Weights of all experts."""
        layers = self._feed_forward_layer_count - self.dense_layers
        return layers * self.experts * self._matrices * self.width * self.expert_width

    def dimensions(self, quantization: str, parameters: int = 0) -> ModelDimensions:
        """Its dimensions in a quantization of `BITS`; ``parameters``: weights, where counted."""
        name = quantization.removeprefix(DYNAMIC)
        bits = BITS[name]
        blocks = (parameters or self.parameters) - self.embedding - self.output - self.lookup
        kv = list(self._kv_widths())
        used = self.experts_used * self.expert_width + self.shared_width
        return ModelDimensions(
            layers=self.layers,
            width=self.width,
            feed_forward=max(used if self.experts else self.feed_forward, 3 * self.inner // 2),
            heads=self.heads,
            kv_width=sum(width for width, windowed in kv if not windowed),
            window_width=sum(width for width, windowed in kv if windowed),
            window=self.window,
            state=self.recurrent_layers * FLOAT * self._state_width,
            vocabulary=self.vocabulary,
            merges=self.vocabulary,
            input=_bytes(self.embedding, bits.output if self.tied else bits.input),
            lookup=_bytes(self.lookup, bits.output if self.tied else bits.input),
            output=_bytes(self.output, bits.output),
            blocks=_bytes(max(blocks, 0), bits.blocks)
            + self._fallback_bytes(name, self._feed_forward_sizes),
            experts=_bytes(self.expert_weights, bits.blocks)
            + self._fallback_bytes(name, {self.expert_width: self.expert_weights}),
            expert_share=self.experts_used / self.experts if self.experts else 0.0,
        )

    def _fallback_bytes(self, quantization: str, sizes: dict[int, int]) -> int:
        """Bytes more, by the weights of feed-forward parts of each size; see `FALLBACK_BITS`."""
        most, down = FALLBACK_BITS.get(quantization, (0.0, 0.0))
        more = 0.0
        for size, weights in sizes.items():
            third = weights / self._matrices
            more += third * down * (size % ROW > 0)
            more += (weights - third) * most * (self.width % ROW > 0)
        return int(more / 8)

    # The parts

    @property
    def _feed_forward_sizes(self) -> dict[int, int]:
        """Weights of the feed-forward parts, by their size."""
        layers = self._feed_forward_layer_count
        mixed = layers - self.dense_layers if self.experts else 0
        widened = self.kv_shared_layers if self.kv_shared_feed_forward else 0
        parts = (
            (self.feed_forward, layers - mixed - widened),
            (self.kv_shared_feed_forward, widened),
            (self.shared_width, mixed),
            (self.expert_width, mixed * self.experts),
        )
        found: dict[int, int] = {}
        for size, count in parts:
            found[size] = found.get(size, 0) + self._matrices * self.width * size * count
        return found

    @property
    def _attention_layer_count(self) -> int:
        return self.attention_layers or self.layers - self.recurrent_layers

    @property
    def _feed_forward_layer_count(self) -> int:
        return self.feed_forward_layers or self.layers

    @property
    def _matrices(self) -> int:
        return 2 if self.ungated else 3

    def _is_windowed(self, layer: int) -> bool:
        return self.window > 0 and (layer + 1) % self.whole_every != 0

    @property
    def _attention_parameters(self) -> int:
        if self.kv_rank:
            return self._attention_layer_count * self._latent_attention_parameters
        return sum(map(self._attention_layer_parameters, range(self._attention_layer_count)))

    def _attention_layer_parameters(self, layer: int) -> int:
        windowed = self._is_windowed(layer)
        head = self.head if windowed else self.whole_head or self.head
        kv_heads = self.kv_heads if windowed else self.whole_kv_heads or self.kv_heads
        kinds = 1 if self.whole_kv_equal and not windowed else 2
        queries = self.heads * head * (3 if self.gated_attention else 2)  # and the output
        return self.width * (queries + kinds * kv_heads * head)

    @property
    def _latent_attention_parameters(self) -> int:
        plain = self.head - self.rope_head
        queries = self.heads * self.head
        if self.q_rank:
            queries = self.q_rank * (self.width + queries)
        else:
            queries *= self.width
        keys = self.width * (self.kv_rank + self.rope_head)
        expansion = self.kv_rank * self.heads * (plain + self.value_head)
        return queries + keys + expansion + self.heads * self.value_head * self.width

    @property
    def _recurrent_parameters(self) -> int:
        if self.mixer == SHORTCONV:
            return self.recurrent_layers * (4 * self.width + self.kernel) * self.width
        mixed = self.inner + 2 * self.groups * self.state
        entering = self.inner + mixed + self.mixer_heads * (2 if self.mixer == DELTA else 1)
        return self.recurrent_layers * (
            self.width * (entering + self.inner) + self.kernel * mixed * bool(self.mixer)
        )

    @property
    def _feed_forward_parameters(self) -> int:
        mixed = self._feed_forward_layer_count - self.dense_layers if self.experts else 0
        return sum(self._feed_forward_sizes.values()) + mixed * self.width * self.experts

    @property
    def _per_layer_parameters(self) -> int:
        """Projections of the embeddings of each layer, and those of AltUp and LAuReL."""
        projected = 3 * self.layers * self.per_layer * self.width
        if not self.altup:
            return projected
        laurel = 2 * self.layers * LAUREL_RANK * self.width
        return projected + laurel + 2 * (self.altup - 1) * self.width**2

    def _kv_widths(self) -> Iterator[tuple[int, bool]]:
        """Values per token that each layer caches, and whether it has a window."""
        for layer in range(self._attention_layer_count - self.kv_shared_layers):
            windowed = self._is_windowed(layer)
            if self.kv_rank:
                yield self.kv_rank + self.rope_head, windowed
            elif windowed:
                yield 2 * self.kv_heads * self.head, True
            else:
                heads = self.whole_kv_heads or self.kv_heads
                yield 2 * heads * (self.whole_head or self.head), False

    @property
    def _state_width(self) -> int:
        """Values of the recurrent state of one layer."""
        if self.mixer == SHORTCONV:
            return self.width * (self.kernel - 1)
        convolved = (self.kernel - 1) * (self.inner + 2 * self.groups * self.state)
        return convolved + self.state * self.inner


def _bytes(weights: int, bits: float) -> int:
    return int(weights * bits / 8)
