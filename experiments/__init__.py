"""The experiments behind docs/experiments.md: their plan, logs, tables and pictures."""
