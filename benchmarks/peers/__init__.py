"""The contenders; see :mod:`benchmarks.peer` for what each module has."""
