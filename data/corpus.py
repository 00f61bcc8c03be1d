"""Reads a corpus as one string: a known name, a file, a folder, a glob, `.zip`, `.gz` or a URL."""

import dataclasses
import difflib
import glob
import hashlib
import os
import pathlib
import re

from data import documents, encodings
from data.chunks import chunks
from data.download import Remote, fetch, remote_from_url
from data.errors import InputError

_PTB = Remote(
    'http://d2l-data.s3-accelerate.amazonaws.com/ptb.zip',
    'ptb.zip',
    ('sha256', '310d8f602882a5716613815ed75596e5764ea84ed04c5630eebaaf2b943ec5aa'),
)
# The Penn Treebank in Mikolov's preparation comes in three parts; each of its lines begins with a blank.
_PTB_MEMBERS = {'ptb': 'ptb/ptb.train.txt', 'ptb_valid': 'ptb/ptb.valid.txt', 'ptb_test': 'ptb/ptb.test.txt'}

BUNDLED = {'lyrics': pathlib.Path(__file__).parent / 'corpora' / 'lyrics.txt'}
REMOTE = {
    'jaychou': Remote(
        'https://raw.githubusercontent.com/d2l-ai/d2l-zh/v1/data/jaychou_lyrics.txt.zip',
        'jaychou_lyrics.txt.zip',
        ('sha256', '3cfedd7d174111cdad5a27eaffaa6a2432a2842cf2590a03dd8a97610ea07043'),
    ),
    'shakespeare': Remote(
        'https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt',
        'tinyshakespeare.txt',
        ('sha256', '86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed'),
    ),
    'time_machine': Remote(
        'http://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt',
        'timemachine.txt',
        ('sha1', '090b5e7e70c295757f55df93cb0a180b9691891a'),
    ),
    'ptb': _PTB,
    'ptb_valid': _PTB,
    'ptb_test': _PTB,
}
NAMES = (*BUNDLED, *REMOTE)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text and where it came from."""

    text: str
    num_documents: int
    can_be_read_again: bool
    """False for a pipe, such as /dev/stdin: a run on it cannot resume."""


def load(
    corpus: str,
    *,
    encoding: str = 'utf-8',
    encoding_errors: str = 'strict',
    newlines: str = 'space',
    max_characters: int = 0,
) -> Corpus:
    r"""Reads the whole corpus as one normalised string.

    Args:
      corpus: a name in `NAMES`, an http(s) URL, a file (a zip file: its `.txt` members; a gzip file: decompressed), a
        folder (all `.txt`, `.gz` and `.zip` files in it and its subfolders, in the order of their names, without hidden
        ones) or a glob. A file that is found twice, by a symbolic link, is read once.
      encoding: the name of a Python text encoding; byte order marks are removed.
      encoding_errors: `strict`, or `replace`: each invalid byte sequence is read as U+FFFD.
      newlines: `space` turns each `\n` and each `\r` into one space, as the book's section does; `keep` keeps every
        line break as one `\n`.
      max_characters: the number of characters to take from the start, after normalisation; 0 takes all.

    Raises:
      InputError: there is no such corpus, it is empty, or `encoding` cannot decode it, or is not the encoding of a
        known corpus. The message names every file that cannot be used.
    """
    if corpus in NAMES and not encodings.is_utf_8(encoding):
        raise InputError(f'encoding={encoding!r} does not go with corpus={corpus}, which is UTF-8: leave encoding out.')
    paths = _paths(corpus)
    try:
        texts = _texts(paths, encoding, encoding_errors, _PTB_MEMBERS.get(corpus))
    except InputError as error:
        if _is_fetched(corpus):
            raise InputError(f'{error} To fetch it again, delete {paths[0]}.') from error
        raise
    text = '\n'.join(texts)
    if corpus in _PTB_MEMBERS:
        text = re.sub('^ ', '', text, flags=re.MULTILINE)
    text = _normalise(text, newlines)[: max_characters or None]
    if not text or text.isspace():
        raise InputError(f'corpus {corpus!r} {"has only white space" if text else "is empty"}. Give another --corpus.')
    return Corpus(text, len(texts), all(path.is_file() for path in paths))


def text_sha256(text: str) -> str:
    """Returns the SHA-256 of `text` in UTF-8."""
    digest = hashlib.sha256()
    for chunk in chunks(text):
        digest.update(chunk.encode())
    return digest.hexdigest()


def _texts(paths: list[pathlib.Path], encoding: str, encoding_errors: str, member: str | None) -> list[str]:
    """Returns the text of each document; `member` is the only one of a zip file to read, None: all.

    Raises:
      InputError: with the messages of all files that cannot be used.
    """
    texts: list[str] = []
    problems: list[str] = []
    for path in paths:
        try:
            texts.extend(
                encodings.decode(content, label, encoding, encoding_errors)
                for label, content in documents.read(path)
                if not member or label == f'{path}/{member}'
            )
        except InputError as error:
            problems.append(str(error))
    if len(problems) > 1:
        problems.insert(0, f'{len(problems)} of {len(paths)} files cannot be used:')
    if problems:
        raise InputError('\n  '.join(problems))
    return texts


def _paths(corpus: str) -> list[pathlib.Path]:
    if corpus in BUNDLED:
        return [BUNDLED[corpus]]
    try:
        if _is_fetched(corpus):
            return [fetch(REMOTE[corpus] if corpus in REMOTE else remote_from_url(corpus), _check_readable)]
        found = _local_paths(pathlib.Path(corpus).expanduser()) if corpus else []
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, no such ~user, a NUL in it
        raise InputError(f'corpus {corpus[:50]!r} is not a valid path: {str(error).rstrip(".")}.') from error
    if not found:
        raise InputError(_not_found(corpus))
    return found


def _is_fetched(corpus: str) -> bool:
    return corpus in REMOTE or corpus.lower().startswith(('http://', 'https://'))


def _check_readable(path: pathlib.Path) -> None:
    """Raises `InputError` if the documents of a file cannot be read."""
    for _ in documents.read(path):
        pass


def _local_paths(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the file itself, or the files of a folder or glob in the order of their names."""
    if path.is_dir():
        found = _each_once([p for p in path.rglob('*') if _is_text_of_folder(p.relative_to(path)) and p.is_file()])
        if not found:
            raise InputError(
                f'corpus folder {str(path)!r} contains no visible {", ".join(documents.SUFFIXES)} file. Name a file or '
                f'a glob.'
            )
        return found
    if path.exists():
        return [path]
    return _each_once([pathlib.Path(p) for p in glob.glob(str(path), recursive=True) if pathlib.Path(p).is_file()])


def _is_text_of_folder(path: pathlib.Path) -> bool:
    return path.suffix.lower() in documents.SUFFIXES and not documents.is_hidden(path.parts)


def _each_once(paths: list[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the paths in the order of their names; of those that lead to one file, the shortest."""
    distinct: dict[str, pathlib.Path] = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        distinct.setdefault(os.path.realpath(path), path)
    return sorted(distinct.values())


def _not_found(corpus: str) -> str:
    siblings = [p.name for p in pathlib.Path().glob('*.txt')]
    close = difflib.get_close_matches(corpus, [*NAMES, *siblings], n=1)
    if corpus == '-':
        hint = ' To train on stdin, save it to a file first.'
    elif '://' in corpus:
        hint = ' Only http:// and https:// are fetched: download the file, then name it.'
    else:
        hint = f' Did you mean {close[0]}?' if close else ''
    return (
        f'corpus {corpus!r} is not a file, a folder, a glob that matches a file, an http(s) URL or a known name '
        f'({", ".join(NAMES)}).{hint}'
    )


def _normalise(text: str, newlines: str) -> str:
    if newlines == 'keep':
        return text.replace('\r\n', '\n').replace('\r', '\n')
    return text.replace('\n', ' ').replace('\r', ' ')
