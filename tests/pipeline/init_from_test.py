"""Weights from another run: the same answers for the characters that both know, whatever their ids."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from data.errors import InputError
from data.vocabulary import Vocabulary
from pipeline import run
from pipeline.checkpoints import load_model
from pipeline.config import Config, ModelConfig
from pipeline.init_from import transfer_weights
from pipeline.model import CharRNN
from tests.conftest import TEXT

pytestmark = pytest.mark.slow

OTHER = TEXT.replace('分', '!').replace('开', '🎵')[:200]  # ids move: '!' is the first character, '🎵' the last
SHARED = [character for character in Vocabulary.from_text(OTHER).characters if character in TEXT]
MODELS = [
    {'cell': 'rnn', 'activation': 'relu'},
    {'cell': 'gru', 'num_layers': 2},
    {'cell': 'lstm', 'embedding_size': 5},
    {'cell': 'gru', 'embedding_size': 6, 'tie_embeddings': True},
    {'cell': 'rnn', 'embedding_size': 12, 'tie_embeddings': True},  # no w_hq
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'first.txt').write_text(TEXT, 'utf-8')
    (tmp_path / 'other.txt').write_text(OTHER, 'utf-8')
    return tmp_path


def _config(**settings) -> Config:
    small = {'corpus': 'first.txt', 'hidden_size': 12, 'init_scale': 0.3, 'jit': False, 'sample_every': '0'}
    small |= {'batch_size': 8, 'num_steps': 5, 'num_epochs': 1, 'learning_rate': 2.0}
    return Config.from_dict(small | settings)


@pytest.mark.parametrize('settings', MODELS, ids=str)
def test_characters_that_both_know_keep_their_weights_and_new_ones_begin_afresh(folder, settings):
    config = _config(**settings)
    run.run(config, folder / 'first')
    first, others = Vocabulary.from_text(TEXT), Vocabulary.from_text(OTHER)
    load_model(folder / 'first', trained := CharRNN(config.model, len(first)))
    model, fresh = (CharRNN(config.model, len(others), seed=7) for _ in range(2))
    line = transfer_weights(str(folder / 'first'), model, others)
    assert line.endswith(f'{len(SHARED)} of {len(others)} characters are known there')

    text = ''.join(character for character in OTHER if character in SHARED)
    answers = []
    for one, vocabulary in ((trained, first), (model, others)):
        logits, _ = one(tf.constant(vocabulary.encode(text)[np.newaxis]), one.zero_state(1))
        answers.append(logits.numpy()[:, 0][:, vocabulary.encode(''.join(SHARED))])
    np.testing.assert_array_equal(*answers)
    for character in '!🎵':
        (new,) = others.encode(character)
        for name, axis in _axes(config.model).items():
            np.testing.assert_array_equal(
                getattr(model, name).numpy().take(new, axis), getattr(fresh, name).numpy().take(new, axis)
            )


def _axes(config: ModelConfig) -> dict[str, int]:
    axes = {'b_q': 0, 'embedding' if config.embedding_size else 'w_xh': 0}
    return axes if config.tie_embeddings else axes | {'w_hq': 1}


def test_fine_tuning_starts_below_a_fresh_run_and_resumes_without_its_source(folder, capsys):
    """The perplexity of its first epoch; the second text has the words of the first, with two other characters."""
    run.run(_config(num_epochs=30), folder / 'first')
    for name, settings in (('fresh', {}), ('tuned', {'init_from': 'first'})):
        run.run(_config(corpus='other.txt', **settings), folder / name)
    first_epochs = [
        json.loads((folder / name / 'metrics.jsonl').read_text().splitlines()[0]) for name in ('fresh', 'tuned')
    ]
    fresh, tuned = (line['perplexity'] for line in first_epochs)
    assert tuned < 0.7 * fresh
    assert 'starts from the weights of first/checkpoints/ckpt-' in capsys.readouterr().out
    shutil.rmtree(folder / 'first')
    run.run(_config(corpus='other.txt', init_from='first', num_epochs=2), folder / 'tuned')
    assert 'resumes after epoch 1 of 2' in capsys.readouterr().out


def test_setting_of_an_exported_model_that_cannot_be_used_is_named(folder, model, vocabulary):
    (folder / 'assets.extra').mkdir()
    config = Config().to_dict() | {'hidden_size': 0}
    (folder / 'assets.extra' / 'charrnn.json').write_text(json.dumps({'config': config, 'vocabulary': 'ab'}), 'utf-8')
    with pytest.raises(InputError, match=r"^init_from='.*' cannot be used: hidden_size=0 must be .* --init_from\.$"):
        transfer_weights(str(folder), model, vocabulary)


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('first', "init_from='first' has a model of another shape: give --cell=rnn --hidden_size=12."),
        ('nowhere', "init_from='nowhere' is neither a run directory nor a version directory of an exported model."),
        ('a[b]', "init_from='a\\[b\\]' contains '\\['"),
    ],
)
def test_source_that_cannot_be_used_is_an_error_before_the_run_is_announced(folder, capsys, source, message):
    run.run(_config(), folder / 'first')
    with pytest.raises(InputError, match=message):
        run.run(_config(init_from=source, cell='gru', hidden_size=10), folder / 'second')
    assert not (folder / 'second').exists()
    assert 'second' not in capsys.readouterr().out
