//! `login`: signs in and keeps that for the commands that follow.
//!
//! No credential is sent before the server is recognised.

use std::path::PathBuf;

use ballast_client::{Client, ClientError, Trust, observe_fingerprints};
use clap::Args;

use super::Context;
use crate::connection::{open, plain_http};
use crate::failure::Failure;
use crate::output;
use crate::prompt;
use crate::settings::{Credential, Settings, StoredTrust};
use crate::text::safe;

/// Sign in, and stay so for the commands that follow
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// A node's API, such as https://10.0.0.1:7443
    url: String,
    /// Who signs in; asked for where it is left out
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// File with the password (- is standard input), instead of being asked for it
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    password_file: Option<PathBuf>,
    /// File with an API token (- is standard input), instead of user and password
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// How the server is recognised.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct TrustArgs {
    /// Believe the cluster whose authority has this SHA-256, as `ballastd init` prints it
    #[arg(long, value_name = "HEX")]
    ca_fingerprint: Option<String>,
    /// Believe servers with a certificate of an authority in this file (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Believe anybody: for experiments on one machine
    #[arg(long)]
    insecure: bool,
}

impl Login {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(path) = &context.environment.settings_path else {
            return Err(Failure::Usage(
                "HOME is not set, so there is no place to keep the session: set BALLAST_URL and \
                 BALLAST_TOKEN instead"
                    .to_owned(),
            ));
        };
        let url = self.url.trim_end_matches('/');
        if url.starts_with("http:") && !self.trust.insecure {
            return Err(plain_http(url));
        }
        let trust = match self.trust.chosen(context)? {
            Some(trust) => trust,
            None => ask_for_trust(url).await?,
        };
        let client = open(url, trust.to_trust(), None)?;
        let (user, role, credential) = match &self.token_file {
            Some(file) => {
                let token = prompt::secret_of_file(file)?;
                client.set_bearer(Some(token.clone()));
                let session = client.session().await?;
                (session.user, session.role, Credential::Token(token))
            }
            None => self.log_in(&client).await?,
        };
        Settings::new(url, &user, credential, trust).save(path)?;
        let role = role.as_str();
        output::note(&format!("signed in at {} as {} ({role})", safe(url), safe(&user)));
        Ok(())
    }

    async fn log_in(
        &self,
        client: &Client,
    ) -> Result<(String, ballast_model::Role, Credential), Failure> {
        let interactive = prompt::is_interactive();
        let user = match &self.username {
            Some(user) => user.clone(),
            None if interactive => prompt::line("User: ")?,
            None => return Err(Failure::Usage("say who signs in: --username".to_owned())),
        };
        let password = match &self.password_file {
            Some(file) => prompt::secret_of_file(file)?,
            None if interactive => prompt::password(&format!("Password of {}: ", safe(&user)))?,
            None => {
                return Err(Failure::Usage(
                    "there is no terminal to ask for the password at: use --password-file, or \
                     --token-file"
                        .to_owned(),
                ));
            }
        };
        let session = match client.log_in(&user, &password).await {
            Ok(session) => session,
            Err(error) => return Err(refused(client, error).await),
        };
        let bearer = client.bearer().ok_or_else(|| ClientError::Decode {
            context: "signing in".to_owned(),
            why: "the server opened no session".to_owned(),
        })?;
        Ok((session.user, session.role, Credential::Session(bearer)))
    }
}

/// Why signing in failed: in a new cluster there is nobody yet who could.
async fn refused(client: &Client, error: ClientError) -> Failure {
    if error.code() == Some("credentials_invalid")
        && client.setup_state().await.is_ok_and(|setup| setup.required)
    {
        let url = client.base_url();
        return Failure::Unfinished(format!(
            "the cluster has no administrator yet: open {url}/ and enter the one-time setup code \
             that the first start printed"
        ));
    }
    error.into()
}

impl TrustArgs {
    /// What the command line or the environment says; none where neither says anything.
    fn chosen(&self, context: &Context) -> Result<Option<StoredTrust>, Failure> {
        if let Some(file) = &self.ca_file {
            let pem = std::fs::read_to_string(file)
                .map_err(|source| Failure::unreadable(file, &source))?;
            return Ok(Some(StoredTrust::CaCertificate { pem }));
        }
        if self.insecure {
            return Ok(Some(StoredTrust::Insecure));
        }
        let sha256 = self.ca_fingerprint.as_ref().or(context.environment.ca_fingerprint.as_ref());
        Ok(sha256.map(|sha256| StoredTrust::CaFingerprint { sha256: sha256.clone() }))
    }
}

/// Whether the system's authorities vouch for the server. Where it can't even be reached, or the
/// system has no authorities, nobody does.
async fn is_vouched_for(url: &str) -> Result<bool, Failure> {
    let answer = match open(url, Trust::System, None) {
        Ok(client) => client.setup_state().await.map(drop).map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    match answer {
        Err(Failure::Client(ClientError::Transport { .. })) => Ok(false),
        Err(Failure::Client(ClientError::Problem(_))) | Ok(()) => Ok(true),
        Err(failure) => Err(failure),
    }
}

/// Believes what the system believes; where that knows nothing of the server, asks the person.
async fn ask_for_trust(url: &str) -> Result<StoredTrust, Failure> {
    if is_vouched_for(url).await? {
        return Ok(StoredTrust::System);
    }
    let fingerprints = observe_fingerprints(url).await?;
    let Some(authority) = fingerprints.last() else {
        return Err(Failure::Usage(format!("{url} shows no certificate")));
    };
    if !prompt::is_interactive() {
        return Err(Failure::Usage(format!(
            "nobody vouches for {url}, and there is no terminal to ask at: use --ca-fingerprint \
             with what `ballastd init` printed (the server shows {authority}; don't copy that \
             without comparing it)"
        )));
    }
    output::note(&format!("The server at {} shows certificates with these SHA-256:", safe(url)));
    for (i, fingerprint) in fingerprints.iter().enumerate() {
        let whose = if i + 1 == fingerprints.len() { "authority" } else { "server" };
        output::note(&format!("  {whose:<9}  {fingerprint}"));
    }
    output::note("`ballastd init` printed the authority's on the first node.");
    if prompt::confirm("Is it the same?")? {
        Ok(StoredTrust::CaFingerprint { sha256: authority.clone() })
    } else {
        Err(Failure::Usage("not signed in: the server is not believed".to_owned()))
    }
}
