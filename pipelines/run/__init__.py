"""From a recipe to learngenes in the registry: what runs where, what it tells, costs, and where it comes from."""
