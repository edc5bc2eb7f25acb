//! The console's texts, one value per language.
//!
//! [`Texts`] has a field for every text, so a language that lacks one does not compile. What the
//! cluster itself says (problems, reasons, messages of errors) is English and marked so.

mod en;
mod ha;
mod zh;

use std::sync::atomic::{AtomicU8, Ordering};

use ballast_model::FieldError;

pub(crate) use ha::HaTexts;

/// A language of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    /// Simplified Chinese.
    Chinese,
}

/// What is shown now. The whole page is drawn anew when it changes.
static CHOSEN: AtomicU8 = AtomicU8::new(0);

impl Language {
    /// Every language.
    pub(crate) const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// Its texts.
    pub(crate) fn texts(self) -> &'static Texts {
        match self {
            Self::English => &en::TEXTS,
            Self::Chinese => &zh::TEXTS,
        }
    }

    /// Its tag (BCP 47).
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// Its name in itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "简体中文",
        }
    }

    /// The one to switch to.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::English => Self::Chinese,
            Self::Chinese => Self::English,
        }
    }

    /// The language that fits a tag best.
    pub(crate) fn of_tag(tag: &str) -> Self {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("zh") { Self::Chinese } else { Self::English }
    }
}

/// Chooses the language of [`texts`].
pub(crate) fn choose(language: Language) {
    CHOSEN.store(language as u8, Ordering::Relaxed);
}

/// The texts of the language that was chosen.
pub(crate) fn texts() -> &'static Texts {
    let chosen = usize::from(CHOSEN.load(Ordering::Relaxed));
    Language::ALL.get(chosen).copied().unwrap_or(Language::English).texts()
}

/// Every text of the console.
pub(crate) struct Texts {
    // Words that stand alone.
    pub(crate) add_member: &'static str,
    pub(crate) address: &'static str,
    pub(crate) addresses: &'static str,
    pub(crate) algorithm: &'static str,
    pub(crate) api_address: &'static str,
    pub(crate) applied: &'static str,
    pub(crate) cancel: &'static str,
    pub(crate) certificates: &'static str,
    pub(crate) close: &'static str,
    pub(crate) cluster_address: &'static str,
    pub(crate) configuration_index: &'static str,
    pub(crate) connections: &'static str,
    pub(crate) cookie: &'static str,
    pub(crate) application_cookie: &'static str,
    pub(crate) header_persistence: &'static str,
    pub(crate) source_persistence: &'static str,
    pub(crate) delete: &'static str,
    pub(crate) description: &'static str,
    pub(crate) details: &'static str,
    pub(crate) dismiss: &'static str,
    pub(crate) edit: &'static str,
    pub(crate) failures: &'static str,
    pub(crate) in_flight: &'static str,
    pub(crate) index: &'static str,
    pub(crate) leader: &'static str,
    pub(crate) listeners: &'static str,
    pub(crate) loading: &'static str,
    pub(crate) member: &'static str,
    pub(crate) members: &'static str,
    pub(crate) members_up: &'static str,
    pub(crate) monitors: &'static str,
    pub(crate) name: &'static str,
    pub(crate) navigation: &'static str,
    pub(crate) never: &'static str,
    pub(crate) new_pool: &'static str,
    pub(crate) nodes: &'static str,
    pub(crate) none: &'static str,
    pub(crate) optional: &'static str,
    pub(crate) overview: &'static str,
    pub(crate) page_not_found: &'static str,
    pub(crate) password: &'static str,
    pub(crate) planes: &'static str,
    pub(crate) pool: &'static str,
    pub(crate) pools: &'static str,
    pub(crate) port: &'static str,
    pub(crate) remove_member: &'static str,
    pub(crate) replication: &'static str,
    pub(crate) request_id: &'static str,
    pub(crate) requests: &'static str,
    pub(crate) requests_per_second: &'static str,
    pub(crate) failures_per_second: &'static str,
    pub(crate) failures_note: &'static str,
    pub(crate) revision: &'static str,
    pub(crate) save: &'static str,
    pub(crate) sign_out: &'static str,
    pub(crate) signed_in_as: &'static str,
    pub(crate) skip_to_content: &'static str,
    pub(crate) state: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) term: &'static str,
    pub(crate) throughput: &'static str,
    pub(crate) try_again: &'static str,
    pub(crate) uptime: &'static str,
    pub(crate) used_by: &'static str,
    pub(crate) username: &'static str,
    pub(crate) up_for: &'static str,
    pub(crate) version: &'static str,
    pub(crate) virtual_servers: &'static str,
    pub(crate) weight: &'static str,
    pub(crate) when_all_down: &'static str,

    // States.
    pub(crate) answering: &'static str,
    pub(crate) checking: &'static str,
    pub(crate) connecting: &'static str,
    pub(crate) disabled: &'static str,
    pub(crate) down: &'static str,
    pub(crate) draining: &'static str,
    pub(crate) enabled: &'static str,
    pub(crate) forced_offline: &'static str,
    pub(crate) listening: &'static str,
    pub(crate) live: &'static str,
    pub(crate) no_contact: &'static str,
    pub(crate) no_leader: &'static str,
    pub(crate) no_quorum: &'static str,
    pub(crate) not_answering: &'static str,
    pub(crate) not_listening: &'static str,
    pub(crate) partial: &'static str,
    pub(crate) polling: &'static str,
    pub(crate) raft_candidate: &'static str,
    pub(crate) raft_follower: &'static str,
    pub(crate) raft_leader: &'static str,
    pub(crate) raft_learner: &'static str,
    pub(crate) role_traffic: &'static str,
    pub(crate) role_witness: &'static str,
    pub(crate) starting: &'static str,
    pub(crate) unknown: &'static str,
    pub(crate) unmonitored: &'static str,
    pub(crate) up: &'static str,

    // The overview.
    pub(crate) all_well: &'static str,
    pub(crate) health_of_cluster: &'static str,
    pub(crate) read_only: &'static str,
    pub(crate) writable: &'static str,

    // Algorithms, and what a pool does with all members down.
    pub(crate) consistent_hash: &'static str,
    pub(crate) least_connections: &'static str,
    pub(crate) least_time: &'static str,
    pub(crate) p2c: &'static str,
    pub(crate) peak_ewma: &'static str,
    pub(crate) random: &'static str,
    pub(crate) round_robin: &'static str,
    pub(crate) source_hash: &'static str,
    pub(crate) fail_open: &'static str,
    pub(crate) fail_closed: &'static str,
    pub(crate) fail_open_choice: &'static str,

    // What an operator does to members.
    pub(crate) disable: &'static str,
    pub(crate) disabling: &'static str,
    pub(crate) drain: &'static str,
    pub(crate) drain_deadline: &'static str,
    pub(crate) drain_hint: &'static str,
    pub(crate) drain_now: &'static str,
    pub(crate) drain_over: &'static str,
    pub(crate) enable: &'static str,
    pub(crate) enabling: &'static str,
    pub(crate) force_offline: &'static str,
    pub(crate) forcing_offline: &'static str,
    pub(crate) offline_hint: &'static str,
    pub(crate) starting_drain: &'static str,
    pub(crate) after_30_s: &'static str,
    pub(crate) after_1_min: &'static str,
    pub(crate) after_5_min: &'static str,
    pub(crate) after_15_min: &'static str,
    pub(crate) after_1_h: &'static str,
    pub(crate) health_by_node: &'static str,

    // Pools and virtual servers that are not there, or can't be changed.
    pub(crate) delete_hint: &'static str,
    pub(crate) load_newest: &'static str,
    pub(crate) host_name: &'static str,
    pub(crate) unresolved_on: fn(node: &str, why: &str) -> String,
    pub(crate) no_members: &'static str,
    pub(crate) no_members_hint: &'static str,
    pub(crate) no_monitors: &'static str,
    pub(crate) no_pools: &'static str,
    pub(crate) no_pools_hint: &'static str,
    pub(crate) no_virtual_servers: &'static str,
    pub(crate) no_virtual_servers_hint: &'static str,
    pub(crate) not_deleted: &'static str,
    pub(crate) not_saved: &'static str,
    pub(crate) pool_not_found: &'static str,

    // Signing in.
    pub(crate) new_password: &'static str,
    pub(crate) new_password_hint: &'static str,
    pub(crate) not_reached: &'static str,
    pub(crate) passwords_differ: &'static str,
    pub(crate) repeat_password: &'static str,
    pub(crate) session_expired: &'static str,
    pub(crate) set_up: &'static str,
    pub(crate) set_up_button: &'static str,
    pub(crate) set_up_failed: &'static str,
    pub(crate) set_up_hint: &'static str,
    pub(crate) setup_code: &'static str,
    pub(crate) setup_code_hint: &'static str,
    pub(crate) sign_in: &'static str,
    pub(crate) sign_in_failed: &'static str,
    pub(crate) sign_in_instead: &'static str,
    pub(crate) unreachable: &'static str,
    pub(crate) unreachable_hint: &'static str,

    // Units, with the space before them, at which no line is broken.
    pub(crate) unit_day: &'static str,
    pub(crate) unit_hour: &'static str,
    pub(crate) unit_minute: &'static str,
    pub(crate) unit_second: &'static str,

    /// High availability.
    pub(crate) ha: &'static HaTexts,

    // Sentences with something in them.
    pub(crate) behind: fn(u64) -> String,
    pub(crate) delete_title: fn(&str) -> String,
    pub(crate) drain_left: fn(&str) -> String,
    pub(crate) drain_title: fn(&str) -> String,
    pub(crate) edit_title: fn(&str) -> String,
    pub(crate) fault: fn(&FieldError) -> String,
    pub(crate) in_pools: fn(usize) -> String,
    pub(crate) last_probe: fn(&str) -> String,
    pub(crate) member_changed: fn(&str, &str) -> String,
    pub(crate) member_changing: fn(&str, &str) -> String,
    pub(crate) member_unchanged: fn(&str) -> String,
    pub(crate) node_count: fn(usize) -> String,
    pub(crate) not_yet_on: fn(&str) -> String,
    pub(crate) offline_title: fn(&str) -> String,
    pub(crate) pool_deleted: fn(&str) -> String,
    pub(crate) pool_saved: fn(&str) -> String,
    pub(crate) problem_count: fn(usize) -> String,
    pub(crate) since: fn(&str) -> String,
    pub(crate) stale: fn(&str) -> String,
}

#[cfg(test)]
mod tests;
