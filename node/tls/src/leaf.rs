//! What a chain says of itself: names, until when, who tells whether it was revoked, and whether its
//! order is right.
//!
//! Invariant: nothing here is verified against an authority; that is the clients' business.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

/// Authority information access (RFC 5280 §4.2.2.1).
const AIA_OCSP: &str = "1.3.6.1.5.5.7.48.1";
const AIA_CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
/// The TLS feature extension (RFC 7633), and its value for "must staple": `status_request`, 5.
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
const MUST_STAPLE: &[u8] = &[0x02, 0x01, 0x05];

/// What a leaf and its chain say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeafFacts {
    /// Its DNS names, in lower case.
    pub names: Vec<String>,
    /// From when it is good, in s since the Unix epoch.
    pub not_before_s: i64,
    /// Until when, in s since the Unix epoch.
    pub not_after_s: i64,
    /// Where it can be asked whether it was revoked: the first `http` URL that it names.
    pub responder_url: Option<String>,
    /// Whether clients refuse it without a staple (RFC 7633).
    pub must_staple: bool,
    /// Whether the chain most likely lacks the authority between leaf and root.
    pub is_incomplete: bool,
}

/// A certificate that can't be read, or does not stand where it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It is no certificate. The number counts from 1.
    #[error("its certificate {number} can't be read: {why}")]
    Unreadable {
        /// Which.
        number: usize,
        /// Why, in words.
        why: String,
    },
    /// It has issued none of those before it.
    #[error(
        "its certificate {number} ({subject}) has issued none of those before it: the leaf comes \
         first, then who issued it, and so on"
    )]
    Order {
        /// Which, from 1.
        number: usize,
        /// Whose it is.
        subject: String,
    },
}

/// Reads the facts of a chain.
///
/// # Errors
/// A certificate of it can't be read. Order is not looked at.
pub fn facts(chain: &[CertificateDer<'_>]) -> Result<LeafFacts, ChainError> {
    let Some(leaf) = chain.first() else { return Ok(LeafFacts::default()) };
    let leaf = read(1, leaf)?;
    let mut facts = LeafFacts {
        not_before_s: leaf.validity().not_before.timestamp(),
        not_after_s: leaf.validity().not_after.timestamp(),
        ..LeafFacts::default()
    };
    let mut names_issuer = false;
    for extension in leaf.extensions() {
        if extension.oid.to_id_string() == TLS_FEATURE {
            facts.must_staple =
                extension.value.windows(MUST_STAPLE.len()).any(|w| w == MUST_STAPLE);
        }
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                let names = names.general_names.iter().filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                    _ => None,
                });
                facts.names.extend(names);
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                for access in &access.accessdescs {
                    let GeneralName::URI(url) = access.access_location else { continue };
                    match access.access_method.to_id_string().as_str() {
                        AIA_OCSP if url.starts_with("http://") && facts.responder_url.is_none() => {
                            facts.responder_url = Some(url.to_owned());
                        }
                        AIA_CA_ISSUERS => names_issuer = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    // An authority that says where its certificate is to be had is none that everybody has.
    facts.is_incomplete = chain.len() == 1 && names_issuer && leaf.subject() != leaf.issuer();
    Ok(facts)
}

/// Checks that each certificate behind the leaf has issued one of those before it: authorities that
/// are signed by several others come with several chains in one.
///
/// # Errors
/// The first that has not.
pub fn check_order(chain: &[CertificateDer<'_>]) -> Result<(), ChainError> {
    let chain = (1..).zip(chain).map(|(number, der)| read(number, der));
    let chain = chain.collect::<Result<Vec<_>, _>>()?;
    for (i, authority) in chain.iter().enumerate().skip(1) {
        let issued =
            |one: &X509Certificate<'_>| one.issuer().as_raw() == authority.subject().as_raw();
        if !chain[..i].iter().any(issued) {
            return Err(ChainError::Order {
                number: i + 1,
                subject: authority.subject().to_string(),
            });
        }
    }
    Ok(())
}

fn read<'a>(number: usize, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, ChainError> {
    match x509_parser::parse_x509_certificate(der) {
        Ok((_, parsed)) => Ok(parsed),
        Err(error) => Err(ChainError::Unreadable { number, why: error.to_string() }),
    }
}

#[cfg(test)]
mod tests;
