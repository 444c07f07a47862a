"""Taskyard: a self-hosted task server. Every piece of asynchronous work is one durable task."""

__version__ = "0.1.0"
