//! Configures the cluster as its users would: a certificate over the API, the rest with ballastctl.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ballast_client::WriteOptions;
use ballast_model::status::Health;
use ballast_model::{CertificateSpec, Draft};
use ballast_test_support::{TestCa, Topology};

use crate::stage::{Stage, note};

/// The name in the demonstration's certificate.
pub(crate) const HOST_NAME: &str = "shop.example.test";

/// The pool and the members that the script works with.
pub(crate) const POOL: &str = "web";
pub(crate) const MEMBERS: [&str; 3] = ["origin-1", "origin-2", "origin-3"];
const ECHO_MEMBERS: [&str; 3] = ["echo-1", "echo-2", "echo-3"];

/// Addresses as `docs/examples/demo.json` has them.
const EXAMPLE_SUBNET: &str = "10.77.0.";

/// The traffic group of `docs/examples/demo-floating.json`, and where its addresses end.
pub(crate) const GROUP: &str = "shop";
const FLOATING_LAST: u8 = 100;
const FLOATING_V6: &str = "fd77:77::100";
const FLOATING: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/demo-floating.json");

/// What clients need to know.
pub(crate) struct Set {
    /// The authority that signed the virtual servers' certificate.
    pub(crate) ca: PathBuf,
}

/// Applies the declaration and waits until every member is found healthy by every traffic node.
pub(crate) async fn apply(topology: &Topology, declaration: &Path, stage: &Stage) -> Result<Set> {
    stage.chapter("configuration, through the API of node-1");
    let cluster = &topology.cluster;
    let ca = TestCa::new()?;
    let ca_file = topology.client.dir()?.join("ca.pem");
    ca.write_pem(&ca_file)?;
    let certificate = ca.issue(&[HOST_NAME])?;
    let spec = CertificateSpec {
        chain_pem: certificate.chain_pem,
        private_key_pem: Some(certificate.key_pem),
        ..CertificateSpec::default()
    };
    cluster.client().put(&Draft::new("shop", spec), &WriteOptions::new()).await?;
    stage.saw(&format!("certificate for {HOST_NAME} stored; its key is sealed"));

    cluster.use_node(0).await?;
    declare(topology, declaration, stage).await?;
    let all: Vec<&str> = MEMBERS.into_iter().chain(ECHO_MEMBERS).collect();
    cluster.wait_for_health(&all, Health::Up, Duration::from_secs(20)).await?;
    stage.saw("both traffic nodes find every member healthy");
    Ok(Set { ca: ca_file })
}

/// Applies the floating addresses, and says which they are: first IPv4, then IPv6.
pub(crate) async fn float(topology: &Topology, stage: &Stage) -> Result<[IpAddr; 2]> {
    declare(topology, Path::new(FLOATING), stage).await?;
    let lab = topology.client.lab();
    Ok([lab.address(FLOATING_LAST).into(), FLOATING_V6.parse()?])
}

/// Applies a file as an automator would, with the lab's addresses in it.
async fn declare(topology: &Topology, declaration: &Path, stage: &Stage) -> Result<()> {
    let cluster = &topology.cluster;
    let text = fs::read_to_string(declaration)
        .with_context(|| format!("reading {}", declaration.display()))?;
    let subnet = format!("{}.", cluster.operator().lab().subnet());
    let name = declaration.file_name().context("a declaration is a file")?;
    let file = cluster.operator().dir()?.join(name);
    fs::write(&file, text.replace(EXAMPLE_SUBNET, &subnet))?;
    let file = file.to_str().context("a path of the lab is UTF-8")?;
    let said = cluster.ctl().run(["apply", "-f", file, "--wait"]).await?;
    let name = name.display();
    stage.saw(&format!("`ballastctl apply -f {name} --wait`: applied on every node"));
    for line in said.lines().take(12) {
        note(line);
    }
    Ok(())
}
