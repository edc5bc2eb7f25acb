//! Changes of state, and what makes them besides advertisements. Addresses are removed before a
//! release goes out, and added before the first advertisement.

use std::net::IpAddr;

use super::{GroupMachine, Heard, Idle, Instance, State, active_down_interval};
use crate::NodeId;
use crate::config::GroupConfig;
use crate::effect::{Effect, Note, Reason, Refusal, Transition};
use crate::input::Standing;
use crate::wire::Family;

impl GroupMachine {
    pub(super) fn set_link(&mut self, is_up: bool, effects: &mut Vec<Effect>) {
        self.is_link_up = is_up;
        self.reconsider(effects);
    }

    pub(super) fn set_source(
        &mut self,
        family: Family,
        source: Option<IpAddr>,
        effects: &mut Vec<Effect>,
    ) {
        let source = source.filter(|source| Family::of(*source) == family);
        let Some(instance) = self.instances.iter_mut().find(|one| one.family == family) else {
            return;
        };
        let is_other = instance.source != source;
        instance.source = source;
        self.reconsider(effects);
        if is_other && self.state == State::Active {
            self.advertise_soon(effects);
        }
    }

    pub(super) fn set_standing(&mut self, standing: Standing, effects: &mut Vec<Effect>) {
        let before = self.priority();
        // RFC 9568 §5.2.4: 0 is a release and 255 the owner's; 254 is kept for manual moves.
        self.standing = Standing { priority: standing.priority.clamp(1, 253), ..standing };
        self.reconsider(effects);
        let own = self.priority();
        match self.state {
            State::Active if own != before => {
                self.advertise_soon(effects);
                self.resign_to_healthier_peer(effects);
            }
            State::Backup => {
                let mut heard = self.instances.iter().filter_map(|instance| instance.heard);
                if heard.any(|heard| heard.priority >= own) {
                    self.better_since = None;
                }
            }
            _ => {}
        }
    }

    pub(super) fn take_over(&mut self, effects: &mut Vec<Effect>) {
        let refusal = match self.state {
            State::Initialize => Some(Refusal::NotTakingPart),
            State::Backup if self.vrid_in_use.is_some() => Some(Refusal::VridInUse),
            _ => None,
        };
        if let Some(refusal) = refusal {
            effects.push(Effect::Note(Note::TakeOverRefused { refusal }));
            return;
        }
        self.manual_from = Some(self.standing.priority);
        if self.state == State::Active {
            self.advertise_soon(effects);
        } else {
            self.become_active(Reason::TakenOver, effects);
        }
    }

    pub(super) fn resume(&mut self, is_manual: bool, effects: &mut Vec<Effect>) {
        if self.state == State::Active {
            self.advertise_soon(effects);
            return;
        }
        if self.state == State::Initialize {
            effects.push(Effect::Note(Note::TakeOverRefused { refusal: Refusal::NotTakingPart }));
            return;
        }
        self.manual_from = is_manual.then_some(self.standing.priority);
        self.become_active(Reason::Resumed, effects);
    }

    pub(super) fn hand_over(&mut self, effects: &mut Vec<Effect>) {
        if self.manual_from.take().is_some() {
            self.advertise_soon(effects);
        }
    }

    pub(super) fn step_down(&mut self, effects: &mut Vec<Effect>) {
        if self.state == State::Active {
            self.become_backup(Reason::SteppedDown, None, effects);
            self.wait_for_silence();
        }
    }

    pub(super) fn shut_down(&mut self, effects: &mut Vec<Effect>) {
        self.is_shut_down = true;
        self.reconsider(effects);
    }

    pub(super) fn reconfigure(&mut self, config: GroupConfig, effects: &mut Vec<Effect>) {
        if let Err(error) = config.validate() {
            effects.push(Effect::Note(Note::ConfigRefused(error)));
            return;
        }
        if config.vrid != self.config.vrid && self.state != State::Initialize {
            // Another virtual router: the old one is released, and the new one listens first.
            self.stop(Reason::Reconfigured, effects);
        }
        let before = std::mem::replace(&mut self.config, config);
        self.fit_instances(&before);
        self.reconsider(effects);
        if self.state == State::Active && self.config != before {
            self.change_in_place(effects);
        }
    }

    /// Families stay as they are, go, or come. One that comes has heard nobody: a Backup waits for it
    /// as for one that fell silent, and the families that were there before say who is Active.
    fn fit_instances(&mut self, before: &GroupConfig) {
        let mut old = std::mem::take(&mut self.instances);
        let own_priority = self.priority();
        for wanted in &self.config.instances {
            let place = old.iter().position(|one| one.family == wanted.family);
            let mut instance = match place {
                Some(place) => old.swap_remove(place),
                None => {
                    let mut new = Instance::new(wanted, self.config.interval_cs, self.now);
                    new.active_down_at =
                        self.now + active_down_interval(own_priority, new.interval());
                    new
                }
            };
            // The kernel knows better than a configuration that says what it said before.
            let was = before.instance(wanted.family).map(|was| was.source);
            if was != Some(wanted.source) {
                instance.source = Some(wanted.source);
            }
            self.instances.push(instance);
        }
    }

    /// An Active gets other addresses or another interval and stays Active.
    fn change_in_place(&mut self, effects: &mut Vec<Effect>) {
        let wanted = self.all_addresses();
        let removed: Vec<IpAddr> =
            self.held.iter().copied().filter(|address| !wanted.contains(address)).collect();
        let added: Vec<IpAddr> =
            wanted.iter().copied().filter(|address| !self.held.contains(address)).collect();
        let is_announced = !added.is_empty();
        if !removed.is_empty() {
            effects.push(Effect::RemoveAddresses(removed));
        }
        if is_announced {
            effects.push(Effect::AddAddresses(added));
        }
        self.held = wanted;
        for instance in &mut self.instances {
            instance.interval_cs = self.config.interval_cs;
        }
        self.advertise(effects);
        if is_announced {
            self.announce(effects);
        }
        self.announcements.restart(&self.config.announce, self.now);
    }

    /// Starts or stops the group as link, sources and standing say.
    pub(super) fn reconsider(&mut self, effects: &mut Vec<Effect>) {
        let idle = self.find_idle();
        match (idle, self.state) {
            (Some(idle), State::Backup | State::Active) => {
                self.stop(idle.reason(), effects);
                self.idle = Some(idle);
            }
            (Some(idle), State::Initialize) => self.idle = Some(idle),
            (None, State::Initialize) => self.listen(effects),
            (None, _) => {}
        }
    }

    fn find_idle(&self) -> Option<Idle> {
        if self.is_shut_down {
            return Some(Idle::ShutDown);
        }
        if let Some(unable) = self.standing.unable {
            return Some(Idle::Unable(unable));
        }
        if !self.is_link_up {
            return Some(Idle::LinkDown);
        }
        let without_source = self.instances.iter().find(|instance| instance.source.is_none());
        without_source.map(|instance| Idle::NoSource(instance.family))
    }

    /// RFC 9568 §6.4.1: nobody here is an owner, so every start is one as Backup.
    fn listen(&mut self, effects: &mut Vec<Effect>) {
        let transition = self.transition(State::Backup, Reason::Able);
        self.idle = None;
        self.is_joined = false;
        for instance in &mut self.instances {
            instance.heard = None;
            instance.interval_cs = self.config.interval_cs;
        }
        self.enter(transition, effects);
        self.wait_for_silence();
    }

    pub(super) fn become_active(&mut self, reason: Reason, effects: &mut Vec<Effect>) {
        let transition = self.transition(State::Active, reason);
        self.is_joined = true;
        for instance in &mut self.instances {
            instance.interval_cs = self.config.interval_cs;
        }
        self.held = self.all_addresses();
        effects.push(Effect::AddAddresses(self.held.clone()));
        self.advertise(effects);
        self.announce(effects);
        self.enter(transition, effects);
        self.announcements.restart(&self.config.announce, self.now);
    }

    pub(super) fn yield_to_rival(
        &mut self,
        rival: Heard,
        reason: Reason,
        effects: &mut Vec<Effect>,
    ) {
        let own_priority = self.priority();
        self.become_backup(reason, None, effects);
        // A last word, so that the winner learns that it had a rival, and announces its addresses
        // again: it may not have heard this node until now, while clients did.
        self.send(own_priority, effects);
        // RFC 9568 §6.4.3: the timers run on the other one's interval.
        for instance in &mut self.instances {
            instance.interval_cs = rival.interval_cs;
        }
        self.wait_for_silence();
    }

    pub(super) fn yield_to_report(&mut self, node_id: NodeId, effects: &mut Vec<Effect>) {
        self.become_backup(Reason::HealthierPeerActive, Some(node_id), effects);
        self.wait_for_silence();
    }

    /// Leaves Active; the caller sets the timers. Released only where nobody else is Active: a
    /// priority 0 would make other Backups take over from a rival that lives.
    pub(super) fn become_backup(
        &mut self,
        reason: Reason,
        reported_by: Option<NodeId>,
        effects: &mut Vec<Effect>,
    ) {
        let mut transition = self.transition(State::Backup, reason);
        transition.facts.reported_by = reported_by;
        self.drop_addresses(effects);
        if reason == Reason::SteppedDown {
            self.send(0, effects);
        }
        self.enter(transition, effects);
    }

    /// Leaves Backup or Active for Initialize, with a release (RFC 9568 §6.4.3) where the link can
    /// carry one.
    fn stop(&mut self, reason: Reason, effects: &mut Vec<Effect>) {
        let transition = self.transition(State::Initialize, reason);
        if self.state == State::Active {
            self.drop_addresses(effects);
            if reason != Reason::LinkDown {
                self.send(0, effects);
            }
        }
        self.is_joined = false;
        self.enter(transition, effects);
    }

    fn drop_addresses(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::RemoveAddresses(std::mem::take(&mut self.held)));
    }

    /// Takes on the new state: whatever belonged to the old one is over.
    fn enter(&mut self, transition: Transition, effects: &mut Vec<Effect>) {
        self.state = transition.to;
        self.reason = Some(transition.reason);
        self.since = self.now;
        if self.state != State::Active {
            self.manual_from = None;
            self.announcements.stop();
        }
        self.conflict = None;
        self.twice_since = None;
        self.vrid_in_use = None;
        self.better_since = None;
        self.vetoed_by = None;
        self.braked = None;
        for instance in &mut self.instances {
            instance.tie_since = None;
        }
        effects.push(Effect::Notify(transition));
    }
}
