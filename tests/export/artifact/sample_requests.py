"""Requests to each signature, with rows of mixed lengths and sampling parameters."""

import numpy as np

PREFIXES = [
    '分',
    '分开',
    '不分开',
    '山一程 水',
    '风把灯吹灭 雪',
    '你',
    '我在河那边 ',
    '雪把',
    ' ',
    '河这边 我在河那边 分',
]
Inputs = dict[str, np.ndarray]


def strings(*texts: str) -> np.ndarray:
    return np.array([text.encode() for text in texts], object)


def mixed(rows: int, state_names: list[str], size: int) -> dict[str, Inputs]:
    """Returns a request of `rows` rows per signature; a smaller request is the start of a larger one."""
    row = np.arange(rows)
    prefixes = [PREFIXES[n % len(PREFIXES)] for n in row]
    texts = [f'{prefix}开{PREFIXES[-1][: n % 9]}' for n, prefix in zip(row, prefixes, strict=True)]
    normal = np.random.default_rng(5).normal(size=(1000, len(state_names), size)).astype(np.float32)
    return {
        'serving_default': {'prefix': strings(*prefixes)},
        'generate': {
            'prefix': strings(*prefixes),
            'length': (row * 7 % 41).astype(np.int32),
            'temperature': np.array([1.0, 0.0, 0.5, 2.0], np.float32)[row % 4],
            'top_k': np.array([0, 3, 0, 100, 1], np.int32)[row % 5],
            'top_p': np.array([1.0, 0.9, 0.3], np.float32)[row % 3],
            'stop': strings(*(('', '开', ' ', '河那边')[n % 4] for n in row)),
            'seed': row.astype(np.int64) - 2,
        },
        'sample': {'prefix': strings(*prefixes), 'seed': row.astype(np.int64) - 2},
        'score': {'text': strings(*texts)},
        'step': {
            'ids': (row % 24).astype(np.int32),
            **{name: normal[:rows, n] for n, name in enumerate(state_names)},
        },
    }


def bad() -> list[tuple[str, dict[str, list], str]]:
    """Returns signatures, invalid inputs (one bad row of two) and the expected error as a regular expression."""
    limit = 'the limit that this model was exported with'
    return [
        ('serving_default', {'prefix': ['分', '']}, rf'prefix\[1\] has 0 characters; it must have 1 to 1000, {limit}'),
        ('serving_default', {'prefix': ['分' * 1001, '分']}, r'prefix\[0\] has 1001 characters'),
        ('serving_default', {'prefix': ['分', '囧']}, r'prefix\[1\] contains .*U\+56E7'),
        ('generate', {'prefix': ['分', b'\xff']}, r'prefix\[1\] is not valid UTF-8'),
        ('generate', {'length': [3, 1001]}, rf'length\[1\] is 1001; it must be 0 to 1000, {limit}'),
        ('generate', {'length': [-1, 1]}, rf'length\[0\] is -1; it must be 0 to 1000, {limit}'),
        ('generate', {'temperature': [1, float('nan')]}, r'temperature\[1\] is nan; it must be finite, 0 \(greedy\)'),
        ('generate', {'top_k': [-2, 0]}, r'top_k\[0\] is -2; it must be 0 \(off\) or more'),
        ('generate', {'top_p': [1, 1.5]}, r'top_p\[1\] is 1.5; it must be above 0 and at most 1 \(off\)'),
        ('generate', {'stop': ['', '分囧']}, r'stop\[1\] contains .*U\+56E7'),
        ('generate', {'stop': ['分' * 1001, '']}, rf'stop\[0\] has 1001 characters; it must have 0 to 1000, {limit}'),
        ('sample', {'prefix': ['', '分']}, r'prefix\[0\] has 0 characters'),
        ('sample', {'seed': [1]}, r'seed has 1 rows and prefix 2; give both the same number'),
        ('generate', {'seed': [1, 2, 3]}, r'seed has 3 rows and prefix 2; give both the same number'),
        ('score', {'text': ['分', '分开']}, rf'text\[0\] has 1 characters; it must have 2 to 2000, {limit}'),
        ('score', {'text': ['分开', '分' * 2001]}, r'text\[1\] has 2001 characters'),
        ('step', {'ids': [0, 24]}, r'ids\[1\] is 24; it must be 0 to 23, a character'),
        ('step', {'ids': [-1, 0]}, r'ids\[0\] is -1; it must be 0 to 23'),
        ('step', {'ids': [1, 2, 3]}, r'state_0 has 2 rows and ids 3; give both the same number'),
    ]


def broken(signature: str, changed: dict[str, list], state_names: list[str], size: int) -> Inputs:
    """Returns a request of two rows with some inputs changed."""
    request = mixed(2, state_names, size)[signature]
    for name, values in changed.items():
        kind = request[name].dtype
        encoded = [value.encode() if isinstance(value, str) else value for value in values]
        request[name] = np.array(encoded, kind)
    return request
