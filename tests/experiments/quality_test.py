"""The tables of docs/quality.md equal their logs."""

from experiments import quality, report

LOG = """$ python -m pipeline.evaluate --baselines
runs/a/checkpoints/ckpt-9 on the test part of jaychou:
6,328 characters, 6,328 predicted, 3,872 of new text, 4.33% unknown
                perplexity   nats/char   bits/char    new text
model               150.36      5.0130      7.2323      164.70
unigram             329.71      5.7982      8.3650
"""


def test_figures_are_parsed():
    assert quality.parse(LOG) == {'model': (150.36, 164.7), 'unigram': (329.71, None)}


def test_document_equals_its_logs():
    document = quality.DOCUMENT.read_text('utf-8')
    expected = report.render(document, quality.tables(quality.FOLDER))
    assert expected == document, 'run: make experiments ARGS=--render_only'
