"""Bodies and queries → core nouns."""
