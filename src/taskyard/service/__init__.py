"""
What may be done: every function takes the records of an open transaction, decides, moves, and appends its events.

Services speak Task, not JSON. They know no clock but the transaction's, and no network.
"""
