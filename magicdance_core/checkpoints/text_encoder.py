"""The text tower (CLIP ViT-L/14), the one sentence that the published model hears: none, and others."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextModel

from ..errors import InputError

BEGIN, END, LENGTH = 49406, 49407, 77


def encode_empty_prompt(text_encoder: CLIPTextModel) -> Tensor:
    """The context of the prompt "", `[1, 77, C]` float32: last hidden state, final norm included.

    The tokens are known, so no tokenizer is needed. Computed in float32 whatever the weights' dtype.
    """
    return _encode(_float32(text_encoder), [])


def prompt_encoder(text_encoder: CLIPTextModel, tokenizer: Path) -> Callable[[str], Tensor]:
    """A function from a text to its context `[1, 77, C]` float32, as `encode_empty_prompt` gives that of "".

    tokenizer: a folder with vocab.json and merges.txt, such as `tokenizer` of Stable Diffusion 1.5's. What is longer
    than 75 tokens is cut off. Raises InputError where the folder holds none.
    """
    from transformers import CLIPTokenizer

    try:
        if not (tokenizer / "vocab.json").is_file():
            raise OSError("vocab.json is missing")
        reads = CLIPTokenizer.from_pretrained(tokenizer, local_files_only=True)
    except Exception as error:  # damaged files make the readers raise nearly anything
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{tokenizer} is no tokenizer ({reason}): give the folder tokenizer of Stable Diffusion 1.5."
        ) from error
    reader, words = _float32(text_encoder), text_encoder.config.vocab_size

    def encode(text: str) -> Tensor:
        ids = reads(text, add_special_tokens=False).input_ids[: LENGTH - 2]
        if ids and max(ids) >= words:
            raise InputError(f"{tokenizer} knows other words than the text tower: take both from one model.")
        return _encode(reader, ids)

    return encode


def _float32(text_encoder: CLIPTextModel) -> CLIPTextModel:
    return text_encoder if text_encoder.dtype == torch.float32 else copy.deepcopy(text_encoder).float()


@torch.no_grad()
def _encode(reader: CLIPTextModel, ids: list[int]) -> Tensor:
    tokens = torch.tensor([[BEGIN, *ids] + [END] * (LENGTH - 1 - len(ids))], device=reader.device)
    return reader(tokens).last_hidden_state.cpu()
