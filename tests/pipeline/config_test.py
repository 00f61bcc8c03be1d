"""Settings: every value a user can type is accepted or refused with its name, the value and the rule."""

import json

import pytest

from data.errors import InputError
from pipeline.config import Config, differences, parse_steps


def test_defaults_equal_the_section():
    config = Config().to_dict()
    section = {'hidden_size': 256, 'num_steps': 35, 'batch_size': 32, 'num_epochs': 250, 'learning_rate': 100.0}
    section |= {'clip_norm': 0.01, 'sample_every': '50ep', 'sample_length': 50, 'prefixes': ('分开', '不分开')}
    section |= {'cell': 'rnn', 'num_layers': 1, 'forget_bias': 0.0, 'dropout': 0.0}
    section |= {'init_scale': 0.01, 'activation': 'tanh', 'sampling': 'random', 'newlines': 'space'}
    assert config.items() >= section.items()


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('batch_size', 0),
        ('num_steps', -3),
        ('max_characters', -1),
        ('hidden_size', 0),
        ('cell', 'lstn'),
        ('num_layers', 0),
        ('dropout', 1.0),
        ('dropout', -0.1),
        ('dropout', float('nan')),
        ('forget_bias', float('nan')),
        ('forget_bias', float('inf')),
        ('init_scale', -0.1),
        ('num_epochs', 0),
        ('learning_rate', float('nan')),
        ('learning_rate', -1.0),
        ('clip_norm', float('inf')),
        ('clip_norm', -0.01),
        ('clip_norm', 1e38),
        ('seed', -1),
        ('seed', 2**31),
        ('learning_rate', 1e39),
        ('sample_every', '-1'),
        ('sample_length', -1),
        ('sample_length', 1_000_001),
        ('hidden_size', 8.5),
        ('hidden_size', '8'),
        ('sampling', 'sometimes'),
        ('newlines', 'drop'),
        ('activation', 'sigmoid'),
        ('prefixes', ('ab', '')),
        ('hiden_size', 3),
        ('optimizer', 'adagrad'),
        ('schedule', 'linear'),
        ('momentum', 1.0),
        ('weight_decay', 0.1),
        ('warmup_steps', -1),
        ('checkpoint_every', '0s'),
        ('checkpoint_every', '-5'),
        ('checkpoint_every', '5 minutes'),
        ('bptt_windows', 0),
        ('valid_fraction', 1.0),
        ('valid_fraction', -0.1),
        ('valid_fraction', float('nan')),
        ('min_count', 0),
        ('evaluate_every', '1 ep'),
        ('early_stopping_patience', -1),
    ],
)
def test_bad_value_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=name):
        Config.from_dict({name: value})


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'optimizer': 'adam'}, r'learning_rate=100.0 is too large for optimizer=adam'),
        ({'optimizer': 'adam', 'learning_rate': 0.1, 'momentum': 0.9}, 'momentum=0.9 is for optimizer=sgd or rmsprop'),
        ({'optimizer': 'adamw', 'learning_rate': 0.1}, 'weight decay and adamw belong together'),
    ],
)
def test_contradicting_settings_are_both_named(values, message):
    with pytest.raises(InputError, match=message):
        Config.from_dict(values)


def test_run_with_a_falling_learning_rate_cannot_change_its_length():
    old = Config.from_dict({'schedule': 'cosine'})
    assert differences(old, old.replace({'num_epochs': 9})) == {'num_epochs': (250, 9)}


@pytest.mark.parametrize(
    ('together', 'other_way'),
    [
        ({'activation': 'relu', 'cell': 'gru'}, "cell='rnn'"),
        ({'activation': 'relu', 'cell': 'lstm'}, "cell='rnn'"),
        ({'forget_bias': 1.0, 'cell': 'rnn'}, "cell='lstm'"),
        ({'forget_bias': 1.0, 'cell': 'gru'}, "cell='lstm'"),
        ({'tie_embeddings': True, 'embedding_size': 0}, 'set --embedding_size, such as to 256'),
        ({'input_dropout': 0.5, 'embedding_size': 0}, 'set --embedding_size, such as to 256'),
    ],
)
def test_setting_that_would_be_ignored_is_refused(together, other_way):
    with pytest.raises(InputError) as caught:
        Config.from_dict(together)
    for part in (*(f'{name}={value!r}' for name, value in together.items()), other_way):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    'together',
    [
        {'activation': 'relu', 'cell': 'rnn', 'num_layers': 2, 'dropout': 0.5},
        {'forget_bias': -1.0, 'cell': 'lstm'},
        {'cell': 'gru', 'num_layers': 1, 'dropout': 0.99},
    ],
)
def test_settings_that_go_together_are_accepted(together):
    assert Config.from_dict(together).to_dict().items() >= together.items()


@pytest.mark.parametrize(
    ('values', 'sides'),
    [
        ({'early_stopping_patience': 5}, ['early_stopping_patience=5', 'valid_fraction=0', '--valid_fraction']),
        ({'bptt_windows': 2}, ['bptt_windows=2', 'sampling=random', '--sampling=consecutive']),
        (
            {'state_reset_rate': 0.1},
            ['state_reset_rate=0.1', 'sampling=random', '--sampling=consecutive', '--state_reset_rate'],
        ),
        ({'evaluate_every': '5'}, ['evaluate_every=5', 'valid_fraction=0', '--valid_fraction']),
        ({'max_evaluate_characters': 5}, ['max_evaluate_characters=5', 'valid_fraction=0', '--valid_fraction']),
        (
            {'test_fraction': 0.1, 'test_corpus': 'x.txt'},
            ['test_fraction=0.1', "test_corpus='x.txt'", 'leave one out'],
        ),
        (
            {'early_stopping_patience': 5, 'evaluate_every': '0', 'valid_fraction': 0.1},
            ['early_stopping_patience=5', 'evaluate_every=0', '--evaluate_every'],
        ),
    ],
)
def test_contradiction_between_groups_names_both_settings(values, sides):
    with pytest.raises(InputError) as caught:
        Config.from_dict(values)
    assert all(side in str(caught.value) for side in sides)


def test_parses_a_range_of_steps():
    assert parse_steps('10:20') == (10, 20)
    assert parse_steps('') is None


@pytest.mark.parametrize('text', ['10', '20:10', '5:5', 'a:b', '-1:5', '1:2:3'])
def test_refuses_an_invalid_range_of_steps(text):
    with pytest.raises(InputError, match='profile_steps'):
        parse_steps(text)


def test_config_survives_json():
    config = Config.from_dict({'hidden_size': 64, 'prefixes': ('a', 'b,c'), 'jit': False})
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_differences_are_the_settings_that_must_not_change():
    old = Config()
    new = old.replace({'num_epochs': 500, 'prefixes': ('x',), 'corpus': 'moved.txt', 'hidden_size': 64, 'seed': 1})
    assert differences(old, new) == {'hidden_size': (256, 64), 'seed': (0, 1)}


def test_settings_that_may_change_when_a_run_resumes():
    """Every setting differs: those told are the ones that make it another run, the rest is listed too."""
    old = Config.from_dict({'activation': 'relu', 'momentum': 0.9, 'valid_corpus': 'v.txt', 'test_corpus': 't.txt'})
    another_run = {
        'encoding': 'gb18030',
        'encoding_errors': 'replace',
        'newlines': 'keep',
        'max_characters': 9,
        'valid_fraction': 0.1,
        'test_fraction': 0.2,
        'max_seconds': 60,
        'init_from': 'runs/a',
    }
    another_run |= {'min_count': 2, 'sampling': 'consecutive', 'batch_size': 8, 'num_steps': 5}
    another_run |= {'cell': 'lstm', 'activation': 'tanh', 'hidden_size': 64, 'num_layers': 2, 'init_scale': 0.1}
    another_run |= {'forget_bias': 1.0, 'dropout': 0.5, 'optimizer': 'adamw', 'learning_rate': 0.003, 'momentum': 0.0}
    another_run |= {'weight_decay': 0.1, 'schedule': 'cosine', 'warmup_steps': 3, 'clip_norm': 1.0, 'seed': 1}
    another_run |= {'bptt_windows': 2, 'jit': False, 'state_reset_rate': 0.1, 'average_from_epoch': 2}
    another_run |= {'max_evaluate_characters': 5}
    another_run |= {'embedding_size': 8, 'embedding_scale': 0.2, 'tie_embeddings': True, 'input_dropout': 0.5}
    may_change = {'corpus': 'moved.txt', 'num_epochs': 500, 'checkpoint_every': '500', 'profile_steps': '1:2'}
    may_change |= {'evaluate_every': '2ep', 'early_stopping_patience': 3, 'valid_corpus': '', 'test_corpus': ''}
    may_change |= {'strategy': 'mirrored', 'worker_timeout': 9}
    may_change |= {'log_every': '2ep', 'sample_every': '7ep', 'sample_length': 8, 'prefixes': ('x',)}
    assert another_run.keys() | may_change.keys() == old.to_dict().keys()
    found = differences(old, old.replace(another_run | may_change))
    assert {name: value for name, (_, value) in found.items()} == another_run
