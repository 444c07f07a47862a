"""Core nouns → bodies."""
