//! The cluster as one ordered log of records applied to an immutable image. Exactly one fenced writer, the controller, appends; what it
//! appends is decided by pure functions over the image; where the log lives is a choice behind one trait.
//!
//! ```text
//!   request ──► decision (image, request) ──► records ──► home.append(epoch, expected end, batch)
//!                   ▲                                               │ committed
//!                   └──────────── image ◄── image.apply(records) ◄──┘──► delta, to every shard
//! ```
//!
//! Called by `shard` and `server`; calls `types`, `wire` (error codes), and `io` for the homes alone. Images cross shards, so they
//! are `Send + Sync`; everything else stays on the shard that hosts the controller.
//!
//! Invariants:
//! 1. The image is a function of the records alone: applied one by one, in batches, or from a snapshot and a tail, it comes out equal.
//! 2. An append is atomic: its records are all applied or none, whatever crashes.
//! 3. An append under an older controller epoch, or at another end than the log has, changes nothing.
//! 4. A topic id is used once. Ids of deleted topics stay in the image as tombstones.
//! 5. Damage to a home's files refuses the start; it never reads as "there are fewer topics".
//!
//! KIPs: 500 (metadata as a log), 516 (topic ids), 868 (batches between marks), 903 (broker epochs), 966 (eligible leader replicas).

pub mod batch;
pub mod controller;
pub mod decision;
pub mod file;
pub mod home;
pub mod image;
pub mod record;
pub mod zookeeper;
