"""Programs that train the same model on the same minibatches, one for each library.

Each runs in a process of its own, with the Python that has its library: `python -m benchmarks.peers.pytorch work.npz`.
They import nothing of the project but `benchmarks.peers.task`, except `charrnn`, which is the project's own trainer.
"""
