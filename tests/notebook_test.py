"""The notebook of the section: its code runs, at a small size, and the outputs in it are those of a whole run."""

import pathlib

import nbclient
import nbformat
import pytest

from tests.conftest import ROOT

NOTEBOOK = ROOT / 'docs' / 'section-6.4.ipynb'
pytestmark = pytest.mark.slow


def _read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def _outputs(notebook: nbformat.NotebookNode) -> list:
    return [output for cell in notebook.cells if cell.cell_type == 'code' for output in cell.outputs]


def test_code_runs():
    """The assertions in it compare each step with the equations of the section."""
    notebook = _read()
    (parameters,) = (cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', []))
    parameters.source = "NUM_CHARACTERS = 2_500\nNUM_EPOCHS = 5\nPREFIXES = ['分开', '不分开']"
    resources = {'metadata': {'path': str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()  # raises the error of a cell
    printed = ''.join(output.text for output in _outputs(notebook) if output.output_type == 'stream')
    assert printed.count('epoch 5, perplexity ') == 2
    assert not [output.text for output in _outputs(notebook) if output.get('name') == 'stderr']


def test_outputs_are_of_a_whole_run_and_quiet():
    assert all(cell.execution_count for cell in _read().cells if cell.cell_type == 'code')
    printed = ''.join(output.text for output in _outputs(_read()) if output.output_type == 'stream')
    assert printed.count('epoch 250, perplexity 1.') == 2
    assert {output.output_type for output in _outputs(_read())} <= {'stream', 'execute_result'}
    assert not [output.text for output in _outputs(_read()) if output.get('name') == 'stderr']


def test_files_that_it_links_to_exist():
    texts = [cell.source for cell in _read().cells if cell.cell_type == 'markdown']
    links = [link for text in texts for link in text.split('](')[1:]]
    assert links
    for link in links:
        assert (NOTEBOOK.parent / pathlib.Path(link.partition(')')[0])).exists(), link
