"""A text encoder with fewer layers and tokens computes what the whole one computes of the rest."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import torch
from tests.unit.test_text_families import (
    CAPTIONS,
    FAMILIES,
    tiny_tokenizer,
    write_checkpoint,
    write_static,
)
from tests.unit.test_training import params_with
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, BertModel, PreTrainedTokenizerFast

from postbias.errors import ParamsError
from postbias.params import TrainParams
from postbias.student.encoder_reduction import keep_first_layers, keep_frequent_tokens
from postbias.student.encoder_settings import load_text_encoder_of, load_tokenizer_of

_WORDS = ["kitchen", "boss", "girls", "boys", "cook", "always", "never", "the", "are"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_layers_compute_the_hidden_states_of_the_whole_encoder(
    family: str, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path, family)
    whole, short = (AutoModel.from_pretrained(folder).eval() for _ in range(2))
    keep_first_layers(short, 1, family)
    ids = torch.tensor([tiny_tokenizer().encode(CAPTIONS[0]).ids])
    with torch.no_grad():
        expected = whole(input_ids=ids, output_hidden_states=True).hidden_states[1]
        if family == "modernbert":
            expected = whole.final_norm(expected)
        found = short(input_ids=ids).last_hidden_state
    torch.testing.assert_close(found, expected)
    with pytest.raises(ParamsError, match=rf"text_layers .* saw '2 of {family}'; allowed: 1 to 1"):
        keep_first_layers(short, 2, family)


def _write_bert(folder: Path, processor: str) -> Path:
    """Write a BERT whose tokenizer knows some words, and single characters."""
    vocabulary = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", *string.ascii_lowercase]
    vocabulary += [f"##{character}" for character in string.ascii_lowercase]
    vocabulary += [f"word{n}" for n in range(300)] + _WORDS
    ids = {token: row for row, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))  # noqa: S106 - not a password
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    tokenizer.post_processor = (
        processors.BertProcessing(ends[1], ends[0])
        if processor == "bert"
        else processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    )
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=3,
                        num_attention_heads=2, intermediate_size=64)  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]", sep_token="[SEP]",  # noqa: S106
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _train(folder: Path, **settings: object) -> TrainParams:
    return params_with(text_encoder=str(folder), max_tokens=24, **settings).train


@pytest.mark.parametrize("processor", ["bert", "template"])
def test_captions_of_frequent_tokens_keep_their_embedding(processor: str, tmp_path: Path) -> None:
    folder = _write_bert(tmp_path, processor)
    captions = ["girls always cook", "boys are never the boss", "the kitchen"]
    embeddings = []
    for n_tokens in (None, 100):
        train = _train(folder, text_vocabulary=n_tokens)
        tokenizer = load_tokenizer_of(train, captions)
        encoder = load_text_encoder_of(train, tokenizer).eval()
        n_expected = n_tokens or 366
        assert tokenizer.get_vocab_size() == n_expected
        assert encoder.backbone.config.vocab_size == n_expected
        with torch.no_grad():
            ids = [torch.tensor([tokenizer.encode(caption).ids]) for caption in captions]
            embeddings.append(torch.cat([encoder(row, torch.ones_like(row)) for row in ids]))
    torch.testing.assert_close(embeddings[1], embeddings[0])


def test_a_rare_word_is_composed_of_shorter_tokens(tmp_path: Path) -> None:
    folder = _write_bert(tmp_path, "bert")
    whole = load_tokenizer_of(_train(folder), [])
    short = keep_frequent_tokens(whole, ["girls are the boss"] * 3 + ["boys"], 60, "bert")
    assert short.get_vocab_size() == 60
    assert short.encode("boys are girls").tokens == (
        ["[CLS]", "b", *(f"##{character}" for character in "oys"), "are", "girls", "[SEP]"]
    )
    # Ids are consecutive and in the order of the old ones, so that padding stays token 0.
    old, new = whole.get_vocab(), short.get_vocab()
    assert sorted(new.values()) == list(range(60))
    assert sorted(new, key=new.__getitem__) == sorted(new, key=old.__getitem__)
    assert new["[PAD]"] == 0


def test_a_vocabulary_that_does_not_suit_is_an_error(tmp_path: Path) -> None:
    tokenizer = load_tokenizer_of(_train(_write_bert(tmp_path, "bert")), [])
    for n_tokens in (20, 367):
        with pytest.raises(ParamsError, match=rf"saw {n_tokens}; allowed: 56 to 366, or null"):
            keep_frequent_tokens(tokenizer, [], n_tokens, "bert")
    pieces = Tokenizer(models.BPE())
    with pytest.raises(ParamsError, match=r"WordPiece tokenizer; saw 'mine: BPE'"):
        keep_frequent_tokens(pieces, [], 300, "mine")


def test_static_embeddings_have_no_layers_to_drop(tmp_path: Path) -> None:
    write_static(tmp_path, "model2vec")
    tokenizer = load_tokenizer_of(_train(tmp_path), [])
    with pytest.raises(ParamsError, match="null: it has no layers"):
        load_text_encoder_of(_train(tmp_path, text_layers=1), tokenizer)
