"""The parts of the Transformer made of torch.nn's modules, with the same weights, for comparison.

torch's masks are the other way round: there True may NOT attend, so hand over `~mask`. Layers and stacks take
masks of two kinds, one for (T, S), the same for all rows (`mask`, `src_mask`, `tgt_mask`, `memory_mask`), and
one for padding, (B, S) (`key_padding_mask` and others that end like that).
"""

from copy import deepcopy

import torch
from torch import nn

from seqlib.transformer import (
    AddNorm,
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    MultiHeadAttention,
    Transformer,
)


def torch_attention(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    """The same attention. Call it with x and twice the memory, (B, S, D), that `keys_values` reads.

    The weights that it gives are the mean of all heads, unless `average_attn_weights=False`.
    """
    theirs = nn.MultiheadAttention(
        ours.W_O.in_features, ours.num_heads, batch_first=True, dtype=ours.W_O.weight.dtype
    )
    inward = ours.W_Q, ours.W_K, ours.W_V  # one matrix there
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([linear.weight for linear in inward]),
            "in_proj_bias": torch.cat([linear.bias for linear in inward]),
            "out_proj.weight": ours.W_O.weight,
            "out_proj.bias": ours.W_O.bias,
        }
    )
    return theirs.train(ours.training)


def torch_encoder_layer(ours: EncoderLayer) -> nn.TransformerEncoderLayer:
    """The same layer, with dropout where ours has it. (torch's own also drops weights and inner units.)"""
    theirs = nn.TransformerEncoderLayer(
        ours.attention.W_O.in_features,
        ours.attention.num_heads,
        dropout=0.0,
        norm_first=ours.around_attention.pre_norm,
        batch_first=True,
    )
    theirs.self_attn = torch_attention(ours.attention)
    _copy_rest(theirs, ours.feed_forward, ours.around_attention, ours.around_feed_forward)
    return theirs.train(ours.training)


def torch_decoder_layer(ours: DecoderLayer) -> nn.TransformerDecoderLayer:
    """The same layer, with dropout where ours has it. It hides the future only with a `tgt_mask`."""
    theirs = nn.TransformerDecoderLayer(
        ours.self_attention.W_O.in_features,
        ours.self_attention.num_heads,
        dropout=0.0,
        norm_first=ours.around_self_attention.pre_norm,
        batch_first=True,
    )
    theirs.self_attn = torch_attention(ours.self_attention)
    theirs.multihead_attn = torch_attention(ours.cross_attention)
    around = ours.around_self_attention, ours.around_cross_attention, ours.around_feed_forward
    _copy_rest(theirs, ours.feed_forward, *around)
    return theirs.train(ours.training)


def _copy_rest(theirs: nn.Module, feed_forward: FeedForward, *around: AddNorm) -> None:
    """All but the attention, under torch's names."""
    theirs.linear1, theirs.linear2 = deepcopy(feed_forward[0]), deepcopy(feed_forward[2])
    for number, part in enumerate(around, start=1):
        setattr(theirs, f"norm{number}", deepcopy(part.norm))
        setattr(theirs, f"dropout{number}", deepcopy(part.dropout))


def torch_transformer(ours: Transformer) -> nn.Transformer:
    """Both stacks of layers: from vectors, embeddings plus positions, to vectors, before the output map.

    `nn.Transformer` by itself ends both stacks with a layer norm. As published they end without, and with
    `pre_norm` each has one, as here.
    """
    encoder_layers = [torch_encoder_layer(layer) for layer in ours.encoder.layers]
    decoder_layers = [torch_decoder_layer(layer) for layer in ours.layers]
    theirs = nn.Transformer(
        ours.embedding.embedding_dim,
        ours.layers[0].self_attention.num_heads,
        custom_encoder=nn.TransformerEncoder(
            encoder_layers[0], len(encoder_layers), deepcopy(ours.encoder.norm), enable_nested_tensor=False
        ),
        custom_decoder=nn.TransformerDecoder(decoder_layers[0], len(decoder_layers), deepcopy(ours.norm)),
        batch_first=True,
    )
    # Only now, because nn.Transformer draws new weights for what it is given.
    theirs.encoder.layers = nn.ModuleList(encoder_layers)
    theirs.decoder.layers = nn.ModuleList(decoder_layers)
    return theirs.train(ours.training)
