//! What a withdrawn consent hides, on every path.
