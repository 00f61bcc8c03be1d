"""export.serve with a server that prints its options and ends, for serve_test."""

import json
import runpy

from export.server import process


def _print(models, options) -> None:
    batches = (options.batches.max_batch_size, options.batches.num_batch_threads)
    others = (options.enable_model_warmup, options.rest_api_enable_cors_support)
    print(json.dumps([*batches, options.metrics_path, options.allowed_hosts, *others]))
    print(options.tensorflow_intra_op_parallelism)


process.serve = _print
runpy.run_module('export.serve', run_name='__main__', alter_sys=True)
