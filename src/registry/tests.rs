//! Statistics against a naive count of the same resources.
