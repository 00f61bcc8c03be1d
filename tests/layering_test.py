"""Data flows one way, data <- pipeline <- export, and flags stay in the programs."""

import ast

import pytest

from tests.conftest import ROOT

LAYERS = {'data': set(), 'pipeline': {'data'}, 'export': {'data', 'pipeline'}}
MODULES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob('*.py'))]


def _imports(path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return found


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_layer_imports_only_the_layers_before_it(path):
    layer = path.relative_to(ROOT).parts[0]
    others = {name.split('.')[0] for name in _imports(path)} & (LAYERS.keys() | {'tests'})
    assert others <= LAYERS[layer] | {layer}


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_programs_have_flags(path):
    """And the modules that parse and generate them."""
    helpers = (ROOT / 'pipeline/program.py', ROOT / 'pipeline/flag_definitions.py')
    is_program = "__name__ == '__main__'" in path.read_text('utf-8') or path in helpers
    assert ('absl.flags' in _imports(path)) == is_program


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text('utf-8')))
