//! Userspace TCP proxy.
