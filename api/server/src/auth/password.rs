//! Passwords: argon2id, off the runtime's threads, few at a time.
//!
//! A hash costs 19 MiB and tens of milliseconds on purpose (OWASP's first choice, argon2's
//! defaults). So that nobody can spend the node's memory or CPU with it, few run at once and few
//! wait.

use std::net::{IpAddr, Ipv4Addr};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use tokio::sync::Semaphore;

use crate::failure::Failure;
use crate::source::{Share, Shares};

/// Most hashes being computed at once.
const RUNNING_MAX_COUNT: usize = 2;
/// Most hashes running or waiting for their turn.
const WAITING_MAX_COUNT: usize = 32;
/// Most of them from one source.
const PER_SOURCE_MAX_COUNT: usize = 8;

/// Hashes passwords and checks them.
pub(crate) struct Passwords {
    running: Semaphore,
    waiting: Semaphore,
    shares: Shares,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            running: Semaphore::new(RUNNING_MAX_COUNT),
            waiting: Semaphore::new(WAITING_MAX_COUNT),
            shares: Shares::default(),
        }
    }
}

impl Passwords {
    /// Leave for `source` to have a password checked, so that nobody holds all the places.
    ///
    /// # Errors
    /// Where the source has its share of them.
    pub(crate) fn share(&self, source: &str) -> Result<Share, Failure> {
        // Only tests have no address.
        let source = source.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let share = self.shares.take(source, PER_SOURCE_MAX_COUNT);
        share.ok_or_else(|| Failure::busy("too many passwords of yours are being checked"))
    }

    /// A password's hash, as a PHC string with a fresh salt.
    ///
    /// # Errors
    /// Where too many are waiting.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, Failure> {
        let password = password.to_owned();
        self.run(move || {
            let hash = Argon2::default().hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string()).map_err(Failure::internal)
        })
        .await?
    }

    /// Whether `password` is the one that `hash` was made of. Without a hash, the answer is no, and
    /// takes as long.
    ///
    /// # Errors
    /// Where too many are waiting.
    pub(crate) async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, Failure> {
        let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
        self.run(move || match hash.as_deref().map(PasswordHash::new) {
            Some(Ok(hash)) => Argon2::default().verify_password(password.as_bytes(), &hash).is_ok(),
            Some(Err(_)) | None => {
                // For its time only.
                let _hash = Argon2::default().hash_password(password.as_bytes());
                false
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| Failure::busy("too many passwords are being checked"))?;
        let _turn = self.running.acquire().await.map_err(Failure::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(Failure::internal)
    }
}
