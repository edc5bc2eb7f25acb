//! Counters, histograms, Prometheus text, access log.
