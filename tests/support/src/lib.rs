//! The lab: namespaces, ports, a test CA, origins, load, real processes.
