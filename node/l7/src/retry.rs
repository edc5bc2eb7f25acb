//! Whether a request that failed at a member is tried again, as its pool's policy says.
//!
//! Invariant: what is allowed has been taken out of the pool's budget.

use ballast_model::{RetryCause, RetryPolicy};
use ballast_telemetry::PoolShard;

use crate::codec::request::Method;
use crate::connection::Session;
use crate::peer::Stream;
use crate::record::Record;
use crate::relay::Relay;
use crate::upstream::Chosen;

/// Whether there is another attempt: as the pool's retry policy says, or `by_default` where it has none.
pub(crate) fn allows(
    session: &Session,
    record: &mut Record,
    chosen: &Chosen,
    cause: RetryCause,
    by_default: bool,
) -> bool {
    let policy = chosen.pool.spec().retry.as_ref();
    let is_for = policy.map_or(by_default, |policy| {
        policy.is_for(cause) && record.attempt_count < policy.max_attempts
    });
    is_for && takes(session, record, chosen, cause)
}

/// Whether there is another attempt where a member has said that it did not look at the request (RFC 9113
/// §8.7): whatever the policy is for, but within its budget, as refusing may be a sign of too much work.
pub(crate) fn allows_unprocessed(session: &Session, record: &mut Record, chosen: &Chosen) -> bool {
    takes(session, record, chosen, RetryCause::ResetBeforeResponse)
}

/// Takes one out of what the pool allows, if there is one.
fn takes(session: &Session, record: &mut Record, chosen: &Chosen, cause: RetryCause) -> bool {
    if record.retry_permit.is_none() {
        let Some(permit) = chosen.pool.enter_retry() else { return false };
        record.retry_permit = permit;
    }
    let now_ms = session.worker.context.clock.coarse_unix_ms();
    let policy = chosen.pool.spec().retry.as_ref();
    if policy.is_some_and(|policy| !chosen.pool.take_retry(policy, now_ms)) {
        chosen.counters.count(PoolShard::retry_refused);
        return false;
    }
    record.attempt_failed(session, cause.into());
    chosen.counters.count(|shard| shard.retry(cause.into()));
    true
}

/// Whether a request may be sent twice where a connection dies before the first byte of a response.
pub(crate) fn repeats_on_reset(method: Method, policy: Option<&RetryPolicy>) -> bool {
    let is_for = |policy: &RetryPolicy| policy.is_for(RetryCause::ResetBeforeResponse);
    method.is_idempotent() || policy.is_some_and(|policy| policy.non_idempotent && is_for(policy))
}

/// Whether a response of that status is not passed on, but the request sent again.
pub(crate) fn allows_status<S: Stream>(
    session: &Session,
    record: &mut Record,
    relay: &Relay<'_, S>,
    status: u16,
) -> bool {
    let Some(chosen) = record.chosen.clone() else { return false };
    let Some(policy) = &chosen.pool.spec().retry else { return false };
    policy.statuses.contains(&status)
        && relay.can_be_repeated()
        && allows(session, record, &chosen, RetryCause::Status, false)
}

/// Whether the pool has a retry policy, so that members are tried anew once all were.
pub(crate) fn goes_round(tried: &[Chosen]) -> bool {
    tried.last().is_some_and(|chosen| chosen.pool.spec().retry.is_some())
}
