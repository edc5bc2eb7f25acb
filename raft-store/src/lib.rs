//! Ballast's replicated configuration store: openraft and sled behind a facade, mTLS between nodes.
