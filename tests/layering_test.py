"""The imports of the project: one direction, no circles, flags in the programs, TensorFlow only where it is needed."""

import ast
import functools
import pathlib

import pytest

from tests.conftest import ROOT

# Each package may import those in its set, and itself.
PACKAGES = {
    'data': set(),
    'pipeline': {'data'},
    'export/artifact': {'data', 'pipeline'},
    'export/client': {'data', 'pipeline', 'export/artifact'},
    'export/server': {'data', 'pipeline', 'export/artifact'},
    'export': {'data', 'pipeline', 'export/artifact', 'export/client', 'export/server'},
}
# Inside the server, each part may import those before it.
SERVER = [
    'errors|metrics|options|drain|ports|ignored_flags',
    'parameter_files|models',
    'predictor',
    'rest|rpc',
    'server',
    'process',
]
MODULES = [path for layer in ('data', 'pipeline', 'export') for path in sorted((ROOT / layer).rglob('*.py'))]
EVERY_MODULE = pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(ROOT)))


@functools.cache
def _imports(path: pathlib.Path, *, at_module_level: bool = False) -> frozenset[str]:
    """Returns the dotted names that a module imports; those inside functions too, unless `at_module_level`."""
    tree = ast.parse(path.read_text('utf-8'))
    found = set()
    for node in tree.body if at_module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return frozenset(found)


def _project_modules(path: pathlib.Path, **kwargs) -> set[pathlib.Path]:
    """Returns the files of the project that a module imports, and their packages' `__init__.py`."""
    found = set()
    for name in _imports(path, **kwargs):
        parts = name.split('.')
        for end in range(1, len(parts) + 1):
            stem = ROOT.joinpath(*parts[:end])
            found |= {file for file in (stem.with_suffix('.py'), stem / '__init__.py') if file in MODULES}
    return found


def _package(path: pathlib.Path) -> str:
    return next(name for name in PACKAGES if path.is_relative_to(ROOT / name))


def _reachable(path: pathlib.Path, **kwargs) -> set[pathlib.Path]:
    """Returns the files that importing a module imports, directly or through other modules."""
    found, left = set(), {path}
    while left:
        module = left.pop()
        new = _project_modules(module, **kwargs) - found
        found |= new
        left |= new
    return found


@EVERY_MODULE
def test_package_imports_only_the_packages_below_it(path):
    package = _package(path)
    modules = (module for module in _project_modules(path) if module.name != '__init__.py')
    assert {_package(module) for module in modules} <= PACKAGES[package] | {package}
    assert not any(name.startswith(('tests', 'benchmarks', 'experiments')) for name in _imports(path))


@EVERY_MODULE
def test_module_does_not_import_itself_through_others(path):
    assert path.name == '__init__.py' or path not in _reachable(path)


@EVERY_MODULE
def test_part_of_the_server_imports_only_the_parts_before_it(path):
    server = ROOT / 'export' / 'server'

    def level(module: pathlib.Path) -> int:
        name = module.relative_to(server).with_suffix('').parts[0]
        return next(n for n, part in enumerate(SERVER) if name in part.split('|'))

    if path.is_relative_to(server) and path.name != '__init__.py':
        parts = (p for p in _project_modules(path) if p.is_relative_to(server) and p.name != '__init__.py')
        assert all(level(module) <= level(path) for module in parts)


@EVERY_MODULE
def test_only_programs_have_flags(path):
    """And the modules that parse and generate them."""
    names = (
        *('data/program.py', 'data/flag_definitions.py'),
        *('pipeline/checkpoint_flag.py', 'export/server/ignored_flags.py'),
    )
    helpers = [ROOT / name for name in names]
    is_program = "__name__ == '__main__'" in path.read_text('utf-8') or path in helpers
    assert ('absl.flags' in _imports(path)) == is_program


@pytest.mark.parametrize('name', ['pipeline/config.py', 'pipeline/limits.py', 'export/server/options.py'])
def test_settings_need_no_tensorflow(name):
    modules = {ROOT / name, *_reachable(ROOT / name, at_module_level=True)}
    imported = {imported.split('.')[0] for path in modules for imported in _imports(path, at_module_level=True)}
    assert not imported & {'tensorflow', 'keras', 'absl', 'starlette', 'uvicorn', 'grpc'}


@EVERY_MODULE
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text('utf-8')))
