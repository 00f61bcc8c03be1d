"""The figures of an evaluation."""

import dataclasses

from pipeline import novelty
from pipeline.evaluation_constants import Constants
from pipeline.perplexity import bits, finite, perplexity

_MOST_UNKNOWN = 0.25  # fraction of a text; above it the figures say little about that text


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Losses on one text, in nats per character, of the model and of the baselines, by name.

    `<name>_dynamic` is `<name>` with dynamic evaluation (`dynamic_evaluation`), `<name>_cache` with a cache of the
    n-grams that were read (`ngram_cache`). `mixture` has all models without these, `mixture_adaptive` all.
    """

    num_characters: int
    """Of the text, including unknown characters."""
    num_predicted: int
    """Characters that the losses are means over."""
    unknown_rate: float
    nats: dict[str, float]
    """`model`, `unigram`, `uniform`, ..."""
    num_new: int | None = None
    """Predicted characters of new text: the 5-grams that end with them occur neither in training nor earlier in the
    text. None: the training part was not read."""
    new_nats: dict[str, float] = dataclasses.field(default_factory=dict)
    """Losses on the new text alone."""
    constants: Constants = dataclasses.field(default_factory=Constants)
    novelty: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    """What `novelty.measure` found."""
    chosen_here: bool = False
    """Whether the learning rate of dynamic evaluation was chosen on the text itself: then its figure is too good."""

    def to_dict(self) -> dict:
        """Returns the figures ready for JSON: a number that is not finite is None."""
        figures = {name: self._figures(name) for name in self.nats}
        counts = {name: getattr(self, name) for name in ('num_characters', 'num_predicted', 'unknown_rate')}
        optional = {'num_new': self.num_new, 'novelty': self.novelty} | dataclasses.asdict(self.constants)
        counts |= {name: value for name, value in optional.items() if value is not None and value != {}}
        return counts | figures.pop('model') | figures

    def _figures(self, name: str) -> dict[str, float | None]:
        nats = self.nats[name]
        figures = {'perplexity': perplexity(nats), 'nats_per_character': nats, 'bits_per_character': bits(nats)}
        if name in self.new_nats:
            figures['new_text_perplexity'] = perplexity(self.new_nats[name])
        return {key: finite(value) for key, value in figures.items()}


def report(evaluation: Evaluation) -> str:
    """Returns the figures as a table."""
    new = '' if evaluation.num_new is None else f', {evaluation.num_new:,} of new text'
    lines = [
        f'{evaluation.num_characters:,} characters, {evaluation.num_predicted:,} predicted{new}, '
        f'{evaluation.unknown_rate:.2%} unknown',
    ]
    width = 2 + max(map(len, evaluation.nats))
    if (rate := evaluation.constants.dynamic_rate) is not None:
        warning = ', chosen on this very text: the figures are too good' if evaluation.chosen_here else ''
        lines.append(f'learning rate of dynamic evaluation: {rate:g}{warning}')
    columns = f'{"":{width}}{"perplexity":>12}{"nats/char":>12}{"bits/char":>12}'
    lines.append(columns + (f'{"new text":>12}' if evaluation.new_nats else ''))
    for name, nats in evaluation.nats.items():
        line = f'{name:{width}}{perplexity(nats):12.2f}{nats:12.4f}{bits(nats):12.4f}'
        of_new = evaluation.new_nats.get(name)
        lines.append(line if of_new is None else f'{line}{perplexity(of_new):12.2f}')
    if evaluation.unknown_rate > _MOST_UNKNOWN:
        lines.append(
            f'More than {_MOST_UNKNOWN:.0%} of this text is unknown to the model: the figures say little about it.'
        )
    if evaluation.novelty:
        lines.append(novelty.table(evaluation.novelty))
    return '\n'.join(lines)
