import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from augment.base.config import BaseConfig, require_base
from augment.base.embedding_files import write_embedding, write_webui_embedding
from augment.base.identity import base_identity
from augment.base.load import load_base
from augment.base.provenance import base_provenance
from augment.base.words import added_words
from augment.diffusion.conditioning import encode_prompt
from augment.generate.config import GenerateConfig
from augment.generate.pipeline import AdapterPipeline
from augment.methods.lora import LoraConfig
from augment.methods.table import read_adapter
from augment.methods.textual_inversion import TextualInversionConfig
from data.errors import BaseError

VECTORS = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
PROMPT = "dermoscopy of a melanoma"


@pytest.fixture
def worded(base, tmp_path):
    """The base with two learnt words, one of each form."""
    folder = tmp_path / "embeddings"
    write_webui_embedding(VECTORS, "any", folder / "Bad-Focus.pt")
    write_embedding(VECTORS[:1] + 1, "any", folder / "gelled.safetensors")
    (folder / "notes.txt").write_text("not a word", encoding="utf-8")
    return dataclasses.replace(base, embeddings=str(folder))


def test_each_file_is_a_word_of_prompts_and_changes_no_other_prompt(base, pipe, worded):
    loaded = load_base(worded)
    assert added_words(loaded) == {"bad-focus": 2, "gelled": 1}
    assert torch.equal(encode_prompt(loaded, PROMPT), encode_prompt(pipe, PROMPT))
    first, other = (encode_prompt(loaded, f"{PROMPT}, {word}") for word in ("bad-focus", "gelled"))
    assert not torch.equal(first, other)
    assert torch.equal(loaded.text_encoder.get_input_embeddings().words["word-bad-focus"], VECTORS)


@pytest.mark.parametrize("config", [LoraConfig(rank=2), TextualInversionConfig(vectors=1)], ids=lambda c: c.method)
def test_every_method_has_the_words_beside_its_own(base, worded, tmp_path, write_adapter_record, config):
    loaded = load_base(worded)
    trainable = config.trainable(loaded, torch.device("cpu"))
    assert added_words(trainable.pipe).items() >= {"bad-focus": 2, "gelled": 1}.items()
    assert added_words(loaded) == {"bad-focus": 2, "gelled": 1}
    folder = tmp_path / "adapter"
    trainable.save(trainable.parameters(0, "melanoma"), folder)
    write_adapter_record(folder, config, base_identity(base))
    pipe = AdapterPipeline(worded).load_adapter(folder, GenerateConfig(steps=1, batch_size=1))
    assert added_words(pipe).items() >= {"bad-focus": 2, "gelled": 1}.items()
    assert torch.equal(encode_prompt(pipe, "gelled"), encode_prompt(loaded, "gelled"))


def test_the_words_are_part_of_the_base_s_identity_but_not_of_its_weights(base, worded, tmp_path, write_adapter_record):
    plain, found = base_identity(base), base_identity(worded)
    assert found == {**plain, "embeddings": found["embeddings"]}
    assert list(found["embeddings"]) == ["bad-focus", "gelled"]
    write_adapter_record(tmp_path, LoraConfig(), plain)
    assert read_adapter(tmp_path, found) == LoraConfig().adapter(tmp_path)
    hub = {"source": "owner/name", "revision": "main"}
    write_adapter_record(tmp_path, LoraConfig(), hub)
    assert read_adapter(tmp_path, {**hub, "embeddings": found["embeddings"]})
    save_file({"a": load_file(tmp_path / "embeddings" / "gelled.safetensors")["any"] + 1}, tmp_path / "new.safetensors")
    (tmp_path / "new.safetensors").rename(tmp_path / "embeddings" / "gelled.safetensors")
    assert base_identity(worded) != found


def test_what_the_words_were_trained_on_is_not_known():
    assert base_provenance(BaseConfig()).is_complete
    assert not base_provenance(BaseConfig(embeddings="folder")).is_complete


def test_a_folder_without_words_or_with_one_twice_is_refused(base, worded, tmp_path):
    folder = tmp_path / "embeddings"
    write_embedding(VECTORS, "any", folder / "GELLED.pt.safetensors").rename(folder / "GELLED.safetensors")
    with pytest.raises(BaseError, match="is the word 'gelled', as"):
        load_base(worded)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(BaseError, match="has no embeddings"):
        load_base(worded)
    folder.rmdir()
    with pytest.raises(BaseError, match=r"base\.embeddings: .*: no such folder"):
        require_base(worded)


def test_a_word_of_the_vocabulary_is_refused_by_its_file(worded, tmp_path):
    write_embedding(VECTORS, "any", tmp_path / "embeddings" / "melanoma.safetensors")
    with pytest.raises(BaseError, match=r"melanoma\.safetensors: word 'melanoma': is in the base's vocabulary"):
        load_base(worded)
