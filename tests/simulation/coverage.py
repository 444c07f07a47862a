"""What simulated histories must have been through to prove anything, and the tables that show it."""
from collections import Counter

def missing(total: Counter[str]) -> list[str]:
    return []

def tables(total: Counter[str]) -> str:
    return "\n".join(f"{k:60} {v:,}" for k, v in sorted(total.items()))
