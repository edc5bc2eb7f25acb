//! What a probe by UDP sends, and which answer is good.
//!
//! Invariant: what is declared fits one datagram that no link on the way has to cut up.

use serde::{Deserialize, Serialize};

use crate::spec::policy::syntax::Regex;
use crate::spec::yes;
use crate::validate::FieldErrors;

/// Largest datagram that is sent, in bytes: what an Ethernet frame takes.
pub const UDP_PROBE_MAX_BYTES: usize = 1_472;

/// A probe by UDP: one datagram, and what comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct UdpProbe {
    /// What is sent, as text, up to 1472 bytes. Absent, with `send_hex` absent too: an empty datagram.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// The same in hexadecimal digits; spaces and colons between bytes are allowed. Not together with
    /// `send`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_hex: Option<String>,
    /// Whether an answer must come. False: silence for the whole `timeout_ms` is good; all that fails
    /// then is word (ICMP) that nobody listens there or that the host is not reached, and an answer
    /// that does not match `expect`.
    pub answer_required: bool,
    /// A regular expression over the bytes of the answer, such as `^\x00\x01` or `OK`; it may match
    /// anywhere. Absent: any answer is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

impl Default for UdpProbe {
    fn default() -> Self {
        Self { send: None, send_hex: None, answer_required: yes(), expect: None }
    }
}

impl UdpProbe {
    /// What is sent.
    ///
    /// # Errors
    /// A sentence on what is wrong with `send_hex`.
    pub fn payload(&self) -> Result<Vec<u8>, &'static str> {
        match (&self.send, &self.send_hex) {
            (Some(text), _) => Ok(text.as_bytes().to_vec()),
            (None, Some(hex)) => from_hex(hex),
            (None, None) => Ok(Vec::new()),
        }
    }

    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let both = self.send.is_some() && self.send_hex.is_some();
        errors.require(!both, "send_hex", "not_allowed", || {
            "stands beside send; one of them says what is sent".to_owned()
        });
        if let Some(text) = &self.send {
            errors.range("send", text.len(), 0, UDP_PROBE_MAX_BYTES);
        }
        if let Some(hex) = &self.send_hex {
            match from_hex(hex) {
                Ok(bytes) => {
                    errors.require(
                        bytes.len() <= UDP_PROBE_MAX_BYTES,
                        "send_hex",
                        "out_of_range",
                        || format!("has more than {UDP_PROBE_MAX_BYTES} bytes"),
                    );
                }
                Err(why) => errors.push("send_hex", "invalid_hex", why),
            }
        }
        if let Some(pattern) = &self.expect
            && let Err(why) = Regex::parse(pattern)
        {
            errors.push("expect", "invalid_regex", why);
        }
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>, &'static str> {
    let is_between = |c: &char| c.is_ascii_whitespace() || *c == ':';
    let digits = text.chars().filter(|c| !is_between(c)).map(|c| c.to_digit(16));
    let digits: Option<Vec<u32>> = digits.collect();
    let digits = digits.ok_or("holds something other than hexadecimal digits")?;
    if !digits.len().is_multiple_of(2) {
        return Err("has an odd number of digits");
    }
    // Each digit is below 16, so that two make a byte.
    Ok(digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}
