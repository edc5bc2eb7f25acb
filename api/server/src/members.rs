//! What operators and automation do with single members of a pool. A member is part of its pool:
//! every change here is a change of the pool, and answers the pool.

use ballast_model::api::DrainRequest;
use ballast_model::{AdminState, AnyDraft, AnyResource, FieldErrors, Kind, MemberSpec, PoolSpec};

use crate::app::now_ms;
use crate::call::Call;
use crate::failure::{Answer, Failure};
use crate::resources::{self, merge};

/// Longest drain, in seconds (one day).
const DRAIN_MAX_S: u64 = 24 * 60 * 60;

pub(crate) async fn set_state(call: &Call, state: AdminState) -> Answer {
    let drain_until_ms = match state {
        AdminState::Draining => drain_until_ms(call.json_or_default()?)?,
        AdminState::Disabled | AdminState::Enabled | AdminState::ForcedOffline => None,
    };
    change_pool(call, |pool| {
        let member = member_mut(call, pool)?;
        member.admin_state = state;
        member.drain_until_ms = drain_until_ms;
        Ok(())
    })
    .await
}

pub(crate) async fn put(call: &Call) -> Answer {
    let mut member: MemberSpec = call.json()?;
    let name = call.path_part("member");
    if member.name.is_none() && member.name() != name {
        member.name = Some(name.to_owned());
    }
    check_name(&member, name)?;
    change_pool(call, |pool| {
        match pool.member_mut(name) {
            Some(present) => present.clone_from(&member),
            None => pool.members.push(member.clone()),
        }
        Ok(())
    })
    .await
}

pub(crate) async fn patch(call: &Call) -> Answer {
    let patch = call.json_value()?;
    let name = call.path_part("member");
    change_pool(call, |pool| {
        let member = member_mut(call, pool)?;
        let mut document = serde_json::to_value(&*member).map_err(Failure::internal)?;
        merge(&mut document, &patch);
        let mut changed: MemberSpec = crate::call::read(document)?;
        if changed.name.is_none() && changed.name() != name {
            // It was named after its address, which changed: it stays the same member.
            changed.name = Some(name.to_owned());
        }
        check_name(&changed, name)?;
        if changed.admin_state != AdminState::Draining {
            changed.drain_until_ms = None;
        }
        *member = changed;
        Ok(())
    })
    .await
}

pub(crate) async fn delete(call: &Call) -> Answer {
    change_pool(call, |pool| {
        member_mut(call, pool)?;
        pool.members.retain(|member| member.name() != call.path_part("member"));
        Ok(())
    })
    .await
}

/// Has the pool's tables forget who is known now; that it did stands in the pool, so that every node
/// does, whenever it gets to know.
pub(crate) async fn forget_clients(call: &Call) -> Answer {
    change_pool(call, |pool| {
        let table = pool.persistence_table.get_or_insert_default();
        table.forgotten_until_ms = Some(now_ms());
        Ok(())
    })
    .await
}

async fn change_pool(call: &Call, change: impl Fn(&mut PoolSpec) -> Result<(), Failure>) -> Answer {
    resources::change(call, Kind::Pool, |resource| {
        let AnyResource::Pool(pool) = resource else {
            return Err(Failure::internal("a pool is not a pool"));
        };
        let mut draft = pool.to_draft();
        change(&mut draft.spec)?;
        Ok(AnyDraft::Pool(draft))
    })
    .await
}

fn member_mut<'a>(call: &Call, pool: &'a mut PoolSpec) -> Result<&'a mut MemberSpec, Failure> {
    let name = call.path_part("member");
    pool.member_mut(name)
        .ok_or_else(|| Failure::not_found(format!("member {name} in pools/{}", call.name())))
}

fn drain_until_ms(request: DrainRequest) -> Answer<Option<u64>> {
    let Some(deadline_s) = request.deadline_s else { return Ok(None) };
    let mut errors = FieldErrors::default();
    errors.range("deadline_s", deadline_s, 0, DRAIN_MAX_S);
    if !errors.is_empty() {
        return Err(Failure::invalid(errors));
    }
    Ok(Some(now_ms() + deadline_s * 1_000))
}

fn check_name(member: &MemberSpec, name: &str) -> Result<(), Failure> {
    if member.name() == name {
        return Ok(());
    }
    let mut errors = FieldErrors::default();
    let message = format!("is {:?}, but the path says {name:?}", member.name());
    errors.push("name", "name_mismatch", message);
    Err(Failure::invalid(errors))
}
