//! Tests of what registries get: the coding itself, and the journeys around it.

mod coding;
mod journeys;
