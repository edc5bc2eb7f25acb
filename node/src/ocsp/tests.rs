//! Stapling as clients see it: OpenSSL's responder is asked, OpenSSL's client gets the answer.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ballast_l4::{TcpHandlers, UdpHandlers};
use ballast_l7::HttpHandlers;
use ballast_model::status::CertificateState;
use ballast_model::{
    AnyDraft, CertificateSpec, Config, Draft, Edit, PoolSpec, Protocol, Snapshot, State,
    VirtualServerSpec,
};
use ballast_telemetry::AccessLog;
use ballast_workers::{DataPlane, DataPlaneConfig, Handlers, Pressure, PressureGauge};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    SerialNumber,
};
use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const SERIAL: u8 = 0x51;

/// OpenSSL's responder, of an authority of its own; ends with this.
struct Responder {
    dir: TempDir,
    port: u16,
    child: Child,
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

impl Drop for Responder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Responder {
    /// One that says that `SERIAL` is in that state: `V` or `R`.
    fn start(state: char) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let ca_pem = params.self_signed(&key).unwrap().pem();
        let dir = tempfile::tempdir().unwrap();
        let revoked = if state == 'R' { "240101000000Z" } else { "" };
        let index = format!("{state}\t400101000000Z\t{revoked}\t{SERIAL:02X}\tunknown\t/CN=leaf\n");
        for (file, content) in
            [("index", &index), ("ca.pem", &ca_pem), ("ca.key", &key.serialize_pem())]
        {
            std::fs::write(dir.path().join(file), content).unwrap();
        }
        let arguments =
            "ocsp -index index -CA ca.pem -rsigner ca.pem -rkey ca.key -port 0 -nmin 10";
        let mut child = openssl(dir.path(), arguments).spawn().expect("openssl");
        let port = listening(&mut child);
        Self { dir, port, child, issuer: Issuer::new(params, key), ca_pem }
    }

    /// A certificate that names this responder, and that it must be stapled.
    fn issue(&self) -> CertificateSpec {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.serial_number = Some(SerialNumber::from_slice(&[SERIAL]));
        let url = format!("http://127.0.0.1:{}/", self.port);
        let mut access = vec![0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 0x86, url.len() as u8];
        access.extend(url.as_bytes());
        let mut content = vec![0x30, access.len() as u8 + 2, 0x30, access.len() as u8];
        content.extend(access);
        let access = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content);
        let must_staple = vec![0x30, 3, 2, 1, 5];
        let must_staple =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], must_staple);
        params.custom_extensions = vec![access, must_staple];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().pem();
        CertificateSpec {
            chain_pem: format!("{leaf}{}", self.ca_pem),
            private_key_pem: Some(key.serialize_pem()),
            ocsp_fetch: true,
            ..CertificateSpec::default()
        }
    }
}

fn openssl(dir: &Path, arguments: &str) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(arguments.split(' '));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The port that the responder says that it listens on.
fn listening(child: &mut Child) -> u16 {
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    for line in lines.map_while(Result::ok) {
        if let Some(accepting) = line.strip_prefix("ACCEPT ") {
            let address = accepting.split(' ').next().unwrap_or_default();
            return address.rsplit(':').next().unwrap_or_default().parse().expect("a port");
        }
    }
    panic!("it does not listen");
}

/// A data plane that serves that certificate.
fn plane(certificate: CertificateSpec) -> (DataPlane, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = DataPlaneConfig {
        connection_max_count: 100,
        pressure: PressureGauge::new(Pressure::default),
        ..DataPlaneConfig::for_trial(1)
    };
    let log = AccessLog::off();
    let handlers = Handlers {
        http: Arc::new(HttpHandlers::new(log.clone())),
        tcp: Arc::new(TcpHandlers::new(log.clone())),
        udp: Arc::new(UdpHandlers::new(log)),
    };
    let plane = DataPlane::start(config, handlers).unwrap();
    let mut server = VirtualServerSpec::new(Protocol::Https, address, "p");
    server.certificates = vec!["c".to_owned()];
    let edits = [
        Edit::put(AnyDraft::Certificate(Draft::new("c", certificate)), "c-uid"),
        Edit::put(AnyDraft::Pool(Draft::new("p", PoolSpec::default())), "p-uid"),
        Edit::put(AnyDraft::VirtualServer(Draft::new("s", server)), "s-uid"),
    ];
    let config = Config::default().edited(&edits, 1, 0).unwrap();
    plane.apply(Arc::new(Snapshot { index: 1, state: State { config, ..State::default() } }));
    (plane, address)
}

/// What OpenSSL's client is told by a handshake.
async fn s_client(responder: &Responder, address: SocketAddr) -> String {
    let arguments =
        format!("s_client -connect {address} -servername a.test -status -CAfile ca.pem");
    let mut command = openssl(responder.dir.path(), &arguments);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    String::from_utf8_lossy(&done.stdout).into_owned()
}

async fn until(holds: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        while !holds() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it did not happen in time");
}

/// The certificate of a plane whose staples are being kept.
async fn kept(plane: &DataPlane, stop: &CancellationToken) -> Arc<Certificate> {
    let mut certificates = plane.certificates();
    let present = certificates.wait_for(|present| !present.is_empty()).await.unwrap().clone();
    drop(tokio::spawn(follow(certificates, stop.clone())));
    Arc::clone(&present["c-uid"])
}

#[tokio::test]
async fn what_the_responder_says_is_stapled_to_handshakes() {
    let responder = Responder::start('V');
    let (plane, address) = plane(responder.issue());
    let stop = CancellationToken::new();
    let _end = stop.clone().drop_guard();
    plane.applied().wait_for(|applied| applied.index == 1).await.unwrap();
    let before = s_client(&responder, address).await;
    assert!(before.contains("OCSP response: no response sent"), "{before}");
    let certificate = kept(&plane, &stop).await;
    until(|| certificate.staple_times_s().is_some()).await;
    let told = s_client(&responder, address).await;
    assert!(told.contains("OCSP Response Status: successful"), "{told}");
    assert!(told.contains("Cert Status: good"), "{told}");
    let status = certificate.status(now_s());
    assert_eq!(status.problems, [""; 0]);
    assert!(status.must_staple && status.staple.is_some());
    assert_eq!(status.state, CertificateState::Valid);
    // Its time is over, and there was no other one.
    let (_, end_s) = certificate.staple_times_s().unwrap();
    certificate.drop_expired(end_s - 1);
    assert!(certificate.key().ocsp.is_some());
    certificate.drop_expired(end_s);
    let after = s_client(&responder, address).await;
    assert!(after.contains("OCSP response: no response sent"), "{after}");
    let problems = certificate.status(now_s()).problems;
    assert_eq!(problems[0], "says that it must be stapled, and there is no staple");
    plane.shutdown().await;
}

#[tokio::test]
async fn a_revoked_certificate_gets_no_staple_and_says_so() {
    let responder = Responder::start('R');
    let (plane, _) = plane(responder.issue());
    let stop = CancellationToken::new();
    let _end = stop.clone().drop_guard();
    let certificate = kept(&plane, &stop).await;
    let says = |text: &str| certificate.status(now_s()).problems.iter().any(|p| p.contains(text));
    until(|| says("the certificate was revoked")).await;
    assert!(certificate.key().ocsp.is_none());
    plane.shutdown().await;
}
