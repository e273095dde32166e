"""mu-pscaling's promise: what is tuned on a small pair of models holds for a large pair."""
