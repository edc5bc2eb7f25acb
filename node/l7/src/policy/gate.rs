//! What a request must pass before anything is done with it: regions that are denied, rate limits,
//! tokens.

use ballast_policy::jwt::{JwtError, bearer};
use ballast_policy::limiter::Admission;
use ballast_policy::{Decision, RequestView, Verdict};
use ballast_telemetry::FailureReason;
use ballast_workers::PolicySet;

use super::answer::{Challenge, Refusal};
use crate::worker::HttpWorker;

const SECOND_NS: u64 = 1_000_000_000;

/// Lets a request pass, or says why not. `text` is used on the way.
pub(super) fn pass<'a, R: RequestView>(
    worker: &HttpWorker,
    policies: &'a PolicySet,
    decision: &Decision<'a, '_, R>,
    request: &R,
    text: &mut Vec<u8>,
) -> Result<(), Refusal<'a>> {
    if let Verdict::Denied { .. } = decision.verdict() {
        return Err(Refusal::new(FailureReason::PolicyDenied));
    }
    for limit in decision.limits() {
        let limits = &worker.rate_limits;
        let key = decision.limit_key(limit, limits.hasher(), text);
        if let Admission::Refused { retry_after_ns } = limits.check(key, limit) {
            let retry_after_s = Some(retry_after_ns.div_ceil(SECOND_NS));
            return Err(Refusal { retry_after_s, ..Refusal::new(FailureReason::RateLimited) });
        }
    }
    for required in decision.require_jwt() {
        let refused = |error: JwtError| {
            let reason = match error.status() {
                403 => FailureReason::TokenInsufficient,
                _ => FailureReason::TokenRejected,
            };
            Refusal { challenge: Some(Challenge { error, required }), ..Refusal::new(reason) }
        };
        let Some(provider) = policies.provider(&required.provider) else {
            return Err(Refusal::new(FailureReason::TokenKeysMissing));
        };
        let token = token(request).map_err(refused)?;
        let verifier = provider.verifier();
        let Some(verifier) = verifier.as_deref() else {
            return Err(Refusal::new(FailureReason::TokenKeysMissing));
        };
        let now_s = worker.context.clock.coarse_unix_ms() / 1_000;
        let checked = verifier.verify(token, now_s).and_then(|claims| claims.satisfies(required));
        if let Err(error) = checked {
            if error == JwtError::UnknownKey {
                provider.note_unknown_key();
            }
            return Err(refused(error));
        }
    }
    Ok(())
}

/// The one token that a request carries.
fn token<R: RequestView>(request: &R) -> Result<&[u8], JwtError> {
    let mut values = request
        .headers()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"authorization"))
        .map(|(_, value)| value);
    let value = values.next().ok_or(JwtError::Missing)?;
    // Of two, a member might believe the other one.
    if values.next().is_some() { Err(JwtError::Malformed) } else { bearer(value) }
}
