"""Makes the tests mean the same on every machine and for every user: import this module before TensorFlow."""

import os

_SETTINGS = {'CHARRNN_MIRRORS', 'KERAS_BACKEND', 'TF_CONFIG', 'TF_USE_LEGACY_KERAS', 'XLA_FLAGS'}

if not os.environ.get('CHARRNN_TEST_GPU'):
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
for _name in list(os.environ):
    if _name in _SETTINGS or _name.lower().endswith('_proxy'):
        del os.environ[_name]
