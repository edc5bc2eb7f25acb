//! Ballast's resources: what users declare, how it is checked, compared and applied; pure.
