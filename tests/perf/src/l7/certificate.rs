//! The certificate that all subjects show.

use std::path::PathBuf;

use anyhow::Result;
use ballast_test_support::{Lab, TestCa};

pub(super) struct Certificate {
    /// Where the authority's certificate is, for clients.
    pub(super) ca: PathBuf,
    pub(super) chain_pem: String,
    pub(super) key_pem: String,
}

impl Certificate {
    /// One (ECDSA P-256) for every address that a subject of the lab may have.
    pub(super) fn issue(lab: &Lab) -> Result<Self> {
        let authority = TestCa::new()?;
        let ca = lab.dir().join("bench-ca.pem");
        authority.write_pem(&ca)?;
        let names: Vec<String> =
            [11, 41, 42].iter().map(|last| lab.address(*last).to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let issued = authority.issue(&names)?;
        Ok(Self { ca, chain_pem: issued.chain_pem, key_pem: issued.key_pem })
    }
}
