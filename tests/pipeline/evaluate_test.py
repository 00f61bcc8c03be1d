"""The figures of an evaluation, as machines read them."""

import json
import math

import pytest

from data.vocabulary import Vocabulary
from pipeline import evaluation
from pipeline.config import Config
from pipeline.run_directory import RunRecord
from tests.conftest import TEXT


def test_figures_of_a_text_agree_with_each_other(model, vocabulary):
    recorded = RunRecord(Config(), vocabulary, '', (1,) * len(vocabulary))
    figures = evaluation.evaluate(model, recorded, TEXT[:40] + '囧', 'x').to_dict()
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
    figures = evaluation.evaluate(model, recorded, '囧😀囧', 'x').to_dict()
    total, of_unknown = sum(recorded.counts) + len(vocabulary), recorded.counts[vocabulary.unknown_id] + 1
    assert figures['unigram']['perplexity'] == pytest.approx(total / of_unknown)
    assert figures['unknown_rate'] == 1


def test_table_warns_if_much_of_the_text_is_unknown():
    nats = {'model': 1.0, 'unigram': 2.0, 'uniform': 3.0}
    warning = 'of this text is unknown to the model'
    assert warning in evaluation.report(evaluation.Evaluation(9, 8, 0.26, nats))
    assert warning not in evaluation.report(evaluation.Evaluation(9, 8, 0.25, nats))
