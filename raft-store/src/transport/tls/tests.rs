use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::identity::authority::node_name;
use crate::identity::testing::first_node;

fn cluster() -> (TempDir, Identity) {
    let directory = TempDir::new().unwrap();
    let identity = first_node(directory.path());
    (directory, identity)
}

/// Connects a client to a server in memory and sends a byte each way. If that gets there: whether
/// the client showed a certificate.
async fn handshake(
    server: &Identity,
    client: Arc<ClientConfig>,
    name: String,
) -> Result<bool, String> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(server_config(server).unwrap());
    let serving = async {
        let mut stream = acceptor.accept(far).await.map_err(|e| e.to_string())?;
        stream.read_u8().await.map_err(|e| e.to_string())?;
        stream.write_u8(2).await.map_err(|e| e.to_string())?;
        stream.flush().await.map_err(|e| e.to_string())?;
        Ok(stream.get_ref().1.peer_certificates().is_some())
    };
    let calling = async {
        let name = ServerName::try_from(name).unwrap();
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.write_u8(1).await?;
        stream.read_u8().await
    };
    let (served, _) = tokio::join!(serving, calling);
    served
}

#[tokio::test]
async fn node_is_let_in_with_its_certificate() {
    let (_directory, identity) = cluster();
    let client = client_config(&identity).unwrap();
    let name = node_name(1, identity.cluster_uid());
    assert_eq!(handshake(&identity, client, name).await, Ok(true));
}

#[tokio::test]
async fn node_does_not_talk_to_another_than_it_means() {
    let (_directory, identity) = cluster();
    let client = client_config(&identity).unwrap();
    let name = node_name(2, identity.cluster_uid());
    assert!(handshake(&identity, client, name).await.is_err());
}

#[tokio::test]
async fn certificate_of_another_authority_is_refused() {
    let ((_a, ours), (_b, theirs)) = (cluster(), cluster());
    let (chain, key) = certificate(&theirs).unwrap();
    // It even knows our authority.
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .with_root_certificates(roots(ours.ca_pem()).unwrap())
        .with_client_auth_cert(chain, key)
        .unwrap();
    let name = node_name(1, ours.cluster_uid());
    assert!(handshake(&ours, Arc::new(client), name).await.is_err());
}

#[tokio::test]
async fn one_who_joins_needs_no_certificate_but_the_right_fingerprint() {
    let ((_a, ours), (_b, theirs)) = (cluster(), cluster());
    let any_name = || "ballast.internal".to_owned();
    let right = joining_config(ours.ca_fingerprint_sha256().to_owned()).unwrap();
    assert_eq!(handshake(&ours, right, any_name()).await, Ok(false));
    let wrong = joining_config(theirs.ca_fingerprint_sha256().to_owned()).unwrap();
    assert!(handshake(&ours, wrong, any_name()).await.is_err());
}

#[tokio::test]
async fn older_tls_is_refused() {
    let (_directory, identity) = cluster();
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots(identity.ca_pem()).unwrap())
        .with_no_client_auth();
    let name = node_name(1, identity.cluster_uid());
    assert!(handshake(&identity, Arc::new(client), name).await.is_err());
}
