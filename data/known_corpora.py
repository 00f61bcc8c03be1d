"""The corpora that have a name."""

import pathlib

from data.download import Remote

_PTB = Remote(
    'http://d2l-data.s3-accelerate.amazonaws.com/ptb.zip',
    'ptb.zip',
    ('sha256', '310d8f602882a5716613815ed75596e5764ea84ed04c5630eebaaf2b943ec5aa'),
)
PTB_MEMBERS = {'ptb': 'ptb/ptb.train.txt', 'ptb_valid': 'ptb/ptb.valid.txt', 'ptb_test': 'ptb/ptb.test.txt'}
"""The Penn Treebank in Mikolov's preparation comes in three parts; each of its lines begins with a blank."""

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
