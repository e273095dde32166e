"""The registry: how people find learngenes. The only room with MLflow.

A learngene is a folder in the artifact store; an MLflow model version is a pointer to it (its URI and digest)
with numbers to compare. Losing the server loses search, never weights.
"""

from registry.search import Found, Page, find

__all__ = ["Found", "Page", "find"]
