//! Typed client of Ballast's REST API, native and WebAssembly.
