//! Suites that run real clusters.
