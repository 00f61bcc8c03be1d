"""The exported model on disk: its contents, its writer and its version directories."""
