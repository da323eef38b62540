//! Tests of what registries get: the coding itself, the journeys around it, and the figures.

mod coding;
mod journeys;
mod statistics;
