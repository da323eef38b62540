//! Tests of what registries get: the coding itself, the journeys around it, and the figures.

mod acts;
mod coding;
mod counted;
mod journeys;
