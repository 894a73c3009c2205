"""The text tower (CLIP ViT-L/14) and the one sentence that the published model hears: none."""

import copy

import torch
from torch import Tensor
from transformers import CLIPTextModel

BEGIN, END, LENGTH = 49406, 49407, 77


@torch.no_grad()
def encode_empty_prompt(text_encoder: CLIPTextModel) -> Tensor:
    """The context of the prompt "", `[1, 77, C]` float32: last hidden state, final norm included.

    The tokens are known, so no tokenizer is needed. Computed in float32 whatever the weights' dtype.
    """
    reader = text_encoder if text_encoder.dtype == torch.float32 else copy.deepcopy(text_encoder).float()
    tokens = torch.tensor([[BEGIN] + [END] * (LENGTH - 1)], device=reader.device)
    return reader(tokens).last_hidden_state.cpu()
