"""Encode prompts with the text encoder (CLIP ViT-L/14); the published model uses only the empty prompt."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextModel

from ..errors import InputError

BEGIN, END, LENGTH = 49406, 49407, 77


def encode_empty_prompt(text_encoder: CLIPTextModel) -> Tensor:
    """Return the embedding of the empty prompt, `[1, 77, C]` float32: the last hidden state after the final norm.

    Its tokens are known, so no tokenizer is needed. Computed in float32 for weights of any dtype.
    """
    return _encode(_float32(text_encoder), [])


def prompt_encoder(text_encoder: CLIPTextModel, tokenizer: Path) -> Callable[[str], Tensor]:
    """Return a function from a text to its embedding `[1, 77, C]` float32, like that of `encode_empty_prompt`.

    tokenizer: a folder with vocab.json and merges.txt, such as Stable Diffusion 1.5's `tokenizer`. Texts are truncated
    to 75 tokens. Raises InputError if the folder has no tokenizer.
    """
    from transformers import CLIPTokenizer

    try:
        if not (tokenizer / "vocab.json").is_file():
            raise OSError("vocab.json is missing")
        tokenize = CLIPTokenizer.from_pretrained(tokenizer, local_files_only=True)
    except Exception as error:  # transformers raises nearly anything for damaged files
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{tokenizer} is not a tokenizer ({reason}): give the folder tokenizer of Stable Diffusion 1.5."
        ) from error
    encoder, vocabulary = _float32(text_encoder), text_encoder.config.vocab_size

    def encode(text: str) -> Tensor:
        ids = tokenize(text, add_special_tokens=False).input_ids[: LENGTH - 2]
        if ids and max(ids) >= vocabulary:
            raise InputError(f"{tokenizer} has other tokens than the text encoder: take both from one model.")
        return _encode(encoder, ids)

    return encode


def _float32(text_encoder: CLIPTextModel) -> CLIPTextModel:
    return text_encoder if text_encoder.dtype == torch.float32 else copy.deepcopy(text_encoder).float()


@torch.no_grad()
def _encode(encoder: CLIPTextModel, ids: list[int]) -> Tensor:
    tokens = torch.tensor([[BEGIN, *ids] + [END] * (LENGTH - 1 - len(ids))], device=encoder.device)
    return encoder(tokens).last_hidden_state.cpu()
