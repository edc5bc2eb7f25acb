//! Load-balancing algorithms, persistence and the member health machine; pure.
