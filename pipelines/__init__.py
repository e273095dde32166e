"""Recipes, stages, the runner and the `zoo` command line. The only room that sees all others."""
