//! Thread-per-core runtimes, listeners, accept loops, graceful drain.
