//! Placer and filler at random against a naive model.
