"""What a recipe says: the models behind the YAML, how it is read and checked, and the identity of its stages."""
