//! `member`: what operators do with a pool's members.

use ballast_client::MemberAction;
use ballast_model::{AdminState, MemberSpec, PoolSpec};
use clap::{Args, Subcommand};

use super::{Context, print_written, write_options};
use crate::failure::Failure;
use crate::text::utc;

/// Enable, disable, drain a pool's member, or force it offline
#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Give it requests
    Enable(Target),
    /// Give it requests of persistent sessions only
    Disable(Target),
    /// Give it requests of persistent sessions only, and none after the deadline
    Drain(Drain),
    /// Give it no requests; cut tunnels and TCP connections
    ForceOffline(Target),
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The pool
    pool: String,
    /// The member's name; its address and port where it has no other
    member: String,
    /// Wait until every live node carries it out
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    target: Target,
    /// When the last sessions are cut, in seconds from now; never where it is left out
    #[arg(long, value_name = "N")]
    deadline_s: Option<u64>,
}

impl Member {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (target, action) = match self {
            Self::Enable(target) => (target, MemberAction::Enable),
            Self::Disable(target) => (target, MemberAction::Disable),
            Self::Drain(drain) => {
                (drain.target, MemberAction::Drain { deadline_s: drain.deadline_s })
            }
            Self::ForceOffline(target) => (target, MemberAction::ForceOffline),
        };
        let options = write_options(target.wait);
        let client = context.client()?;
        let written = client.member_action(&target.pool, &target.member, action, &options).await?;
        let sentence = sentence(&target, &written.value.spec);
        print_written(context.output, &written, &sentence)
    }
}

fn sentence(target: &Target, pool: &PoolSpec) -> String {
    let member = pool.members.iter().find(|member| member.name() == target.member.as_str());
    let state = member.map_or_else(|| "gone".to_owned(), state);
    format!("{}/{}: {state}", target.pool, target.member)
}

/// What the operator wants of a member, with the deadline where there is one.
pub(super) fn state(member: &MemberSpec) -> String {
    let name = member.admin_state.as_str().replace('_', " ");
    match (member.admin_state, member.drain_until_ms) {
        (AdminState::Draining, Some(until_ms)) => format!("{name} until {}", utc(until_ms)),
        _ => name,
    }
}
