"""The experiments of docs/experiments.md: plan, logs, tables and pictures."""
