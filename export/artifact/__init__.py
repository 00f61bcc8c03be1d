"""The exported model on disk: what it holds, how it is written, and how its versions are found."""
