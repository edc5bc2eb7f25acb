//! The certificate that the API and the console are served with.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use ballast_raft_store::Identity;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::NodeConfig;

/// TLS 1.2 and 1.3 with the node's own certificate, or with one of the cluster's authority.
pub(crate) fn server_config(config: &NodeConfig, identity: &Identity) -> Result<Arc<ServerConfig>> {
    let (chain_pem, key_pem) = match &config.api_certificate {
        Some((chain, key)) => (read("certificate_file", chain)?, read("private_key_file", key)?),
        None => {
            let made = identity.api_certificate(&names(config))?;
            (made.chain_pem.into_bytes(), made.private_key_pem.into_bytes())
        }
    };
    let chain = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<Vec<_>, _>>()
        .context("the API's certificate can't be read")?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem).context("the API's key can't be read")?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the API's certificate and key can't be used together")?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// Everything that people may call this node.
fn names(config: &NodeConfig) -> Vec<String> {
    let advertised = config.cluster_advertise.rsplit_once(':').map_or("", |(host, _)| host);
    let listened = config.api_listen.iter().map(|address| address.ip());
    let mut names: Vec<String> = ["localhost", "127.0.0.1", &config.name, advertised]
        .into_iter()
        .map(|name| name.trim_matches(['[', ']']).to_owned())
        .chain(listened.filter(|ip: &IpAddr| !ip.is_unspecified()).map(|ip| ip.to_string()))
        .chain(config.api_names.iter().cloned())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("api.{setting}: {} can't be read", path.display()))
}
