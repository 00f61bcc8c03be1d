"""The figures of an evaluation, as machines read them."""

import json
import math
import re

import pytest

from data.errors import InputError
from data.vocabulary import Vocabulary
from pipeline import evaluation, evaluator
from pipeline.config import Config
from pipeline.dataset import EncodedText
from pipeline.evaluator import Methods
from pipeline.run_directory import RunRecord
from tests.conftest import ROOT, TEXT, stored


def _text(text: str, vocabulary: Vocabulary, before: str = '') -> EncodedText:
    return EncodedText.of(stored(text), vocabulary, 'x', [stored(before)] if before else [])


def test_baselines_and_caches_are_beside_the_model(model, vocabulary):
    """The text has an old part and a new one; the cache helps, because the new part repeats itself."""
    record = RunRecord(Config(), vocabulary, '', (1,) * len(vocabulary))
    new = '雪程灯山' * 10
    text = _text(TEXT[:20] + new, vocabulary, before=TEXT)
    figures = evaluator.evaluate(
        [model], record, text, methods=Methods(baselines=True, cache=True), training=vocabulary.encode(TEXT)
    ).to_dict()
    models = ['kneser_ney_' + str(order) for order in range(1, 8)]
    rows = [*models, *(f'{name}_cache' for name in ['model', *models]), 'unigram', 'uniform']
    assert [name for name, value in figures.items() if isinstance(value, dict)] == rows
    whole = TEXT + TEXT[:20] + new
    ends = range(len(TEXT) + 1, len(whole) + 1)
    assert figures['num_new'] == sum(whole[end - 5 : end] not in whole[: end - 1] for end in ends) > 5
    static, adapted = figures['kneser_ney_6'], figures['kneser_ney_6_cache']
    assert adapted['perplexity'] < static['perplexity'] < static['new_text_perplexity']
    assert figures['perplexity'] == evaluator.evaluate([model], record, text).to_dict()['perplexity']


def test_constants_are_chosen_on_the_validation_part(model, models, vocabulary, monkeypatch):
    """A rate that is best there, and mixtures that are at least as good there as each of their parts."""
    monkeypatch.setattr(evaluator, 'RATES', (0.01, 1e6))
    record = RunRecord(Config.from_dict({'jit': False}), vocabulary, '', (1,) * len(vocabulary))
    text, valid = _text(TEXT[:60], vocabulary, TEXT), _text(TEXT[40:110], vocabulary, TEXT)
    methods = Methods(baselines=True, cache=True, dynamic=True)
    together = [model, models['gru']]
    found, of_valid = (
        evaluator.evaluate(together, record, one, methods=methods, training=vocabulary.encode(TEXT), valid=valid)
        for one in (text, valid)
    )
    assert (found.constants.dynamic_rate, found.chosen_here) == (0.01, False)
    static = [name for name in of_valid.nats if name.startswith(('model', 'kneser')) and name.count('_') < 3]
    assert {'model_2', 'model_dynamic', 'model_2_dynamic_cache', 'kneser_ney_7_cache'} <= found.nats.keys()
    for mixture, parts in (('mixture', ['model', 'model_2', 'kneser_ney_4']), ('mixture_adaptive', static)):
        assert of_valid.nats[mixture] <= min(of_valid.nats[name] for name in parts) + 1e-6
    weights_of_here = evaluator.evaluate(
        together, record, text, methods=Methods(baselines=True), training=vocabulary.encode(TEXT), valid=text
    )
    assert weights_of_here.nats['mixture'] < found.nats['mixture'], 'the weights are not those of the validation part'
    given = evaluator.evaluate(
        together, record, text, methods=methods, training=vocabulary.encode(TEXT), constants=found.constants
    )
    assert given.nats == found.nats
    assert 'too good' not in evaluation.report(given)
    with pytest.raises(InputError, match=r'an evaluation with kneser_ney_1, .* which this one lacks'):
        evaluator.evaluate(together, record, text, methods=Methods(dynamic=True), constants=found.constants)
    alone = evaluator.evaluate([model], record, text, methods=Methods(dynamic=True))
    assert 'chosen on this very text: the figures are too good' in evaluation.report(alone)


def test_each_name_of_a_report_is_documented(model, models, vocabulary):
    record = RunRecord(Config(), vocabulary, '', (1,) * len(vocabulary))
    text, methods = _text(TEXT[:60], vocabulary, TEXT), Methods(baselines=True, cache=True)
    figures = evaluator.evaluate(
        [model, models['gru']], record, text, methods=methods, training=vocabulary.encode(TEXT), valid=text
    ).to_dict()
    names = {re.sub('_cache$', '', re.sub('(?<=kneser_ney)_[2-7]', '_1', name)) for name in figures}
    documented = set(re.findall('`([a-z0-9_]+)`', (ROOT / 'docs/training.md').read_text('utf-8')))
    assert {'mixture', 'mixture_adaptive', 'model_2', 'weights'} < names
    assert names | figures['model_2'].keys() <= documented


def test_constants_of_an_evaluation_without_dynamic_evaluation_do_not_serve_one_with_it(model, vocabulary):
    record = RunRecord(Config.from_dict({'jit': False}), vocabulary, '', (1,) * len(vocabulary))
    constants = evaluator.evaluate([model], record, text := _text(TEXT[:60], vocabulary)).constants
    with pytest.raises(InputError, match=r'without --dynamic, which this one has: .* --constants_of with it'):
        evaluator.evaluate([model], record, text, methods=Methods(dynamic=True), constants=constants)


def test_model_alone_does_not_read_the_validation_part(model, vocabulary, monkeypatch):
    read, losses = [], evaluator.Scorer.losses
    monkeypatch.setattr(evaluator.Scorer, 'losses', lambda scorer, text: read.append(text) or losses(scorer, text))
    record = RunRecord(Config(), vocabulary, '', (1,) * len(vocabulary))
    text, valid = _text(TEXT[:60], vocabulary), _text(TEXT[40:110], vocabulary)
    assert evaluator.evaluate([model], record, text, valid=valid).constants.weights == {}
    assert read == [text]


def test_figures_of_a_text_agree_with_each_other(model, vocabulary):
    recorded = RunRecord(Config(), vocabulary, '', (1,) * len(vocabulary))
    figures = evaluator.evaluate([model], recorded, _text(TEXT[:40] + '囧', vocabulary)).to_dict()
    assert (figures['num_characters'], figures['num_predicted'], figures['unknown_rate']) == (41, 39, 1 / 41)
    for row in (figures, figures['unigram'], figures['uniform']):
        assert row['perplexity'] == pytest.approx(math.exp(row['nats_per_character']))
        assert row['perplexity'] == pytest.approx(2 ** row['bits_per_character'])
    assert figures['uniform']['perplexity'] == pytest.approx(24)
    assert figures['unigram']['perplexity'] == pytest.approx(24)  # of counts that are all equal


def test_numbers_that_are_not_finite_are_null_in_json():
    nats = {'model': 800.0, 'unigram': 1.0, 'uniform': 2.0}
    figures = json.loads(json.dumps(evaluation.Evaluation(9, 8, 0.0, nats).to_dict(), allow_nan=False))
    assert figures['perplexity'] is None
    assert figures['nats_per_character'] == 800


def test_unknown_characters_have_the_probability_of_the_unknown_character(model):
    """Rare in training, all of them the one character in the text: the unigram baseline counts it as that."""
    vocabulary = Vocabulary.from_text(TEXT, min_count=13)
    recorded = RunRecord(Config(), vocabulary, '', tuple(range(len(vocabulary))))
    figures = evaluator.evaluate([model], recorded, _text('囧😀囧', vocabulary)).to_dict()
    total, of_unknown = sum(recorded.counts) + len(vocabulary), recorded.counts[vocabulary.unknown_id] + 1
    assert figures['unigram']['perplexity'] == pytest.approx(total / of_unknown)
    assert figures['unknown_rate'] == 1


def test_table_warns_if_much_of_the_text_is_unknown():
    nats = {'model': 1.0, 'unigram': 2.0, 'uniform': 3.0}
    warning = 'of this text is unknown to the model'
    assert warning in evaluation.report(evaluation.Evaluation(9, 8, 0.26, nats))
    assert warning not in evaluation.report(evaluation.Evaluation(9, 8, 0.25, nats))
