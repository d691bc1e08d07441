//! What goes wrong in a life of the broker: its disk hangs, fails or fills, links are cut or go down, the process or the machine ends, also
//! in the middle of a chosen call of the disk.

use std::time::Duration;

use ottla::io::World;
use ottla::io::memory::{Crash, DiskCall, DiskFault};

use crate::broker::BROKER;
use crate::scenario::{CLIENTS, DIRECTOR, Director};

impl Director {
    /// Some call of the disk fails during the start that follows.
    pub fn fail_start(&mut self) {
        let calls = [
            DiskCall::Open,
            DiskCall::Read,
            DiskCall::Write,
            DiskCall::Sync,
            DiskCall::Truncate,
            DiskCall::ListDirectory,
            DiskCall::SyncDirectory,
            DiskCall::Rename,
            DiskCall::Remove,
        ];
        let call = *self.random.choose(&calls);
        let errno = *self.random.choose(&[libc::EIO, libc::EMFILE, libc::ENOSPC]);
        self.shared.model.borrow_mut().faulted = true;
        self.sync_failed |= call == DiskCall::Sync;
        self.shared.control.aim(BROKER, call, "/data", self.random.skewed(1, 40), DiskFault::Fails(errno));
    }

    /// Ends the process, or the machine, that is starting.
    pub fn end_at_once(&mut self) {
        self.shared.model.borrow_mut().faulted = false;
        let crash = if self.may_lose_power() && self.random.one_in(3) { Crash::PowerLoss } else { Crash::Kill };
        match crash {
            Crash::Kill => self.shared.control.crash(BROKER),
            Crash::PowerLoss => self.shared.control.power_loss(BROKER),
        }
    }

    /// A failed sync leaves pages that the kernel takes for written, and only the process that saw it fail knows.
    pub fn may_lose_power(&self) -> bool {
        !self.sync_failed
    }

    /// Perhaps something goes wrong.
    pub async fn disturb(&mut self) {
        if self.crashed().is_some() {
            return;
        }
        let control = self.shared.control.clone();
        let node = CLIENTS + self.random.below(u64::from(self.shared.shape.clients) + 1) as u32;
        match self.random.below(12) {
            0 => {
                control.hang_disk(BROKER, Duration::from_millis(self.random.skewed(10, 4000)));
                self.count("disk hangs");
            }
            1 if self.shared.shape.network_fails => control.cut(BROKER, node),
            2 if self.shared.shape.network_fails => {
                self.shared.disturbed.set(true);
                control.partition(BROKER, node, true);
                let span = Duration::from_millis(self.random.skewed(10, 3000));
                let healer = control.clone();
                let world = self.world.clone();
                control.spawn(DIRECTOR, 0, async move {
                    world.sleep(span).await;
                    healer.partition(BROKER, node, false);
                });
                self.count("link goes down");
            }
            3 if self.shared.shape.disk_fails => self.fail_disk().await,
            _ => {}
        }
    }

    async fn fail_disk(&mut self) {
        let control = self.shared.control.clone();
        self.shared.model.borrow_mut().faulted = true;
        let part = *self.random.choose(&[".log", ".log", ".index", ".timeindex", "topic-"]);
        match self.random.below(4) {
            0 => {
                self.count("write fails");
                control.aim(BROKER, DiskCall::Write, part, self.random.skewed(1, 5), DiskFault::Fails(libc::EIO));
            }
            1 => {
                self.count("sync fails");
                control.aim(BROKER, DiskCall::Sync, part, self.random.skewed(1, 5), DiskFault::Fails(libc::EIO));
            }
            2 => {
                self.count("open fails");
                control.aim(BROKER, DiskCall::Open, part, 1, DiskFault::Fails(libc::EMFILE));
            }
            _ => {
                self.count("disk fills");
                let room = self.random.below(60_000);
                let world = control.world(BROKER, 0);
                if let Ok(space) = world.space(std::path::Path::new("/")).await {
                    control.change_disk(BROKER, |disk| disk.capacity = space.total - space.free + room);
                }
            }
        }
    }

    /// Ends the process, or the machine.
    pub fn crash(&mut self, crash: Crash) {
        if self.crashed().is_some() {
            self.count("end: crash aimed before");
            return;
        }
        match crash {
            Crash::Kill => {
                self.count("end: kill");
                self.shared.control.crash(BROKER);
            }
            Crash::PowerLoss => {
                self.count("end: power loss");
                self.shared.control.power_loss(BROKER);
            }
        }
    }

    /// A crash in the middle of some call of the disk.
    pub async fn crash_at_a_call(&mut self) -> Result<(), String> {
        let control = self.shared.control.clone();
        let crash = if self.random.below(3) > 0 && self.may_lose_power() { Crash::PowerLoss } else { Crash::Kill };
        let aims = [
            (DiskCall::Write, ".log"),
            (DiskCall::Write, ".log"),
            (DiskCall::Sync, ".log"),
            (DiskCall::Sync, ".index"),
            (DiskCall::Sync, ".timeindex"),
            (DiskCall::Write, ".index"),
            (DiskCall::Sync, ".snapshot"),
            (DiskCall::Rename, "topic-"),
            (DiskCall::Open, ".log"),
            (DiskCall::SyncDirectory, "topic-"),
            (DiskCall::Truncate, ".log"),
            (DiskCall::Write, "/data"),
        ];
        let (call, part) = *self.random.choose(&aims);
        control.aim(BROKER, call, part, self.random.skewed(1, 8), DiskFault::Crashes(crash));
        let until = control.now() + Duration::from_millis(self.random.between(200, 1500));
        while self.crashed().is_none() && control.now() < until {
            self.check()?;
            self.world.sleep(Duration::from_millis(2)).await;
        }
        if self.crashed().is_none() {
            self.crash(crash);
        } else {
            self.count(if crash == Crash::Kill { "end: kill in a call" } else { "end: power loss in a call" });
        }
        Ok(())
    }
}
