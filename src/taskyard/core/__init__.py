"""What a task is: words, states, moves and rules. Standard library only; no I/O, no clock, no asyncio."""
