"""`zoo bench`: starts compared at many sizes. Its trials are stages of a recipe; here they are planned and shown."""
