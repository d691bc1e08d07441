//! What a crash does to a node's disk as a whole: calls in flight first, then, without power, everything that was not synced.

use super::content::Content;
use super::survival::{Survival, Toll, surviving};
use super::{Crash, Disk, Effect, InFlight, directory};
use crate::io::memory::settings::EntryLoss;

impl Disk {
    /// The node has ended, and its tasks are gone: decides what became of calls in flight and, without power, of what was not synced.
    pub(in crate::io::memory) fn crash(&mut self, crash: Crash) {
        let mut interrupted: Vec<(u64, InFlight)> = std::mem::take(&mut self.in_flight).into_iter().collect();
        while !interrupted.is_empty() {
            let (_, call) = interrupted.swap_remove(self.random.below(interrupted.len() as u64) as usize);
            self.interrupt(call);
        }
        self.aims.clear();
        self.hangs_until = 0;
        if crash == Crash::PowerLoss {
            self.lose_power();
        }
    }

    fn interrupt(&mut self, call: InFlight) {
        let fate = self.random.below(3);
        if fate == 0 || call.errno.is_some() {
            self.count("crash.call_not_done", 1);
            return;
        }
        match call.effect {
            Effect::Write { file, position, mut bytes, .. } if fate == 1 => {
                bytes.truncate(self.random.below(bytes.len() as u64 + 1) as usize);
                self.record("crash.write_torn", call.covered, bytes.len() as u64);
                let _full = self.write(&file.inode, position, bytes);
            }
            Effect::CreateDirectories { path } if fate == 1 => {
                let most = self.random.below(path.components().count() as u64 + 1);
                let _refused = self.namespace.create_directories(&path, most);
                self.count("crash.call_half_done", 1);
            }
            Effect::RemoveTree { path } if fate == 1 => {
                if let Ok(name) = self.namespace.name(&path) {
                    let order = self.namespace.removal_order(&name);
                    let most = self.random.below(order.len() as u64 + 1) as usize;
                    for (name, entry) in order.into_iter().take(most) {
                        self.unlink(name, entry);
                    }
                    self.count("crash.call_half_done", 1);
                }
            }
            effect => {
                let _refused = self.apply(effect, call.covered);
                self.count("crash.call_done", 1);
            }
        }
    }

    fn lose_power(&mut self) {
        self.power_losses += 1;
        let survival = Survival::draw(&mut self.random);
        let in_order = match self.settings.entry_loss {
            EntryLoss::Prefix => true,
            EntryLoss::Subset => false,
            EntryLoss::Either => self.random.one_in(2),
        };
        let count = self.namespace.changes_len();
        let chosen: Vec<bool> = if in_order {
            let kept = survival.prefix(&mut self.random, count);
            (0..count).map(|index| index < kept).collect()
        } else {
            (0..count).map(|_| survival.one(&mut self.random)).collect()
        };
        let kept = self.namespace.lose(chosen);
        self.count("crash.entry_kept", kept);
        self.count("crash.entry_lost", count as u64 - kept);

        let mut toll = Toll::default();
        self.used = 0;
        self.orphans.clear();
        for inode in self.namespace.live.files(directory::ROOT).into_values() {
            let mut content = inode.content();
            let end = content.changes_end();
            let changes = content.take_changes(end);
            let survivor = surviving(&content.durable, &changes, survival, &mut self.random, &mut toll);
            let allocated = if self.random.one_in(2) { content.allocated } else { 0 };
            *content = Content::synced(survivor, allocated);
            content.charged = content.footprint();
            self.used += content.charged;
        }
        self.count("crash.page_kept", toll.pages_kept);
        self.count("crash.page_lost", toll.pages_lost);
        self.count("crash.page_torn", toll.pages_torn);
        self.count("crash.page_stale_within_length", toll.pages_stale);
        self.count("crash.length_lost", toll.lengths_lost);
        self.record("crash.power_lost", self.used, kept);
    }
}
