//! `ottla metadata`: prints the log of the cluster's metadata, and moves it from one home to another.
//!
//! Calls the homes themselves: the broker that keeps them is to be stopped, for a move. `place` opens and closes either kind of home.

use std::io::Write;
use std::path::PathBuf;

use crate::io::glommio::{self, GlommioWorld, Settings};
use crate::metadata::home::{Appended, Home, HomeError, Snapshot};
use crate::metadata::record::Record;

use super::console::Console;
use super::failure::Failure;

mod place;

use place::{Opened, Place, Target};

/// Records that a move appends at once, and their bytes: any home takes so many in one piece.
const APPENDED_RECORDS_MAX: usize = 500;
const APPENDED_BYTES_MAX: usize = 128 << 10;

#[derive(clap::Args)]
#[command(after_help = "\
A HOME is the first directory of log.dirs, or zookeeper://HOST:PORT,HOST:PORT/CHROOT.

Examples:
  ottla metadata show /var/lib/ottla
  ottla metadata show zookeeper://localhost:2181/kafka
  ottla metadata move /var/lib/ottla zookeeper://localhost:2181/kafka
  ottla metadata move zookeeper://localhost:2181/kafka /var/lib/ottla")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Print the log: the records of its snapshot, then those after it, a line each.
    Show {
        #[arg(value_parser = Place::parse)]
        home: Place,
    },
    /// Move the log of a stopped broker to another home, in which there is none.
    Move {
        #[arg(value_parser = Place::parse)]
        from: Place,
        #[arg(value_parser = Place::parse)]
        to: Place,
    },
}

/// All that a home holds.
#[derive(PartialEq, Debug)]
struct Contents {
    snapshot: Snapshot,
    /// From the snapshot's offset on.
    records: Vec<Record>,
    epoch: i32,
}

impl Contents {
    fn end(&self) -> i64 {
        self.snapshot.offset + self.records.len() as i64
    }
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    match &args.what {
        What::Show { home } => {
            let home = home.clone();
            let contents = on_a_shard(move |world| show(world, home.clone()))?;
            print(&contents, console)
        }
        What::Move { from, to } => {
            let (source, target) = (from.clone(), to.clone());
            let moved = on_a_shard(move |world| carry(world, source.clone(), target.clone()))?;
            writeln!(
                console.out(),
                "Moved {} records up to offset {} from {from} to {to}.",
                moved.records.len() + moved.snapshot.records.len(),
                moved.end()
            )?;
            Ok(())
        }
    }
}

/// Homes live on a shard.
fn on_a_shard<T: Send + 'static, Body: Future<Output = Result<T, String>> + 'static>(
    body: impl Fn(GlommioWorld) -> Body + Clone + Send + 'static,
) -> Result<T, Failure> {
    let sentence = |why: &dyn std::fmt::Display| Failure::Sentence(why.to_string());
    let placements = glommio::placements(1).map_err(|error| sentence(&error))?;
    let outcomes =
        glommio::start_shards(&placements, &Settings::default(), move |_, world| body(world)).map_err(|error| sentence(&error))?;
    outcomes.into_iter().next().ok_or_else(|| sentence(&"its thread has ended"))?.map_err(Failure::Sentence)
}

fn print(contents: &Contents, console: &mut Console) -> Result<(), Failure> {
    let Contents { snapshot, records, epoch } = contents;
    let out = console.out();
    writeln!(out, "# controller epoch {epoch}, snapshot of offset {}, end {}", snapshot.offset, contents.end())?;
    for record in &snapshot.records {
        writeln!(out, "snapshot {}", line(record))?;
    }
    for (offset, record) in (snapshot.offset..).zip(records) {
        writeln!(out, "{offset} {}", line(record))?;
    }
    Ok(())
}

fn line(record: &Record) -> String {
    serde_json::to_string(record).unwrap_or_else(|error| unreachable!("a record has a JSON form: {error}"))
}

async fn show(world: GlommioWorld, home: Place) -> Result<Contents, String> {
    match place::open(&world, &home).await? {
        Opened::File(file) => {
            let epoch = file.epoch();
            contents(&file, epoch).await
        }
        Opened::ZooKeeper(session, home) => {
            let epoch = home.epoch().await.map_err(|error| error.to_string())?;
            let read = contents(&home, epoch).await;
            session.close().await;
            read
        }
    }
}

async fn contents(home: &impl Home, epoch: i32) -> Result<Contents, String> {
    let sentence = |error: HomeError| error.to_string();
    let snapshot = home.load().await.map_err(sentence)?;
    let mut records = vec![];
    let mut next = snapshot.offset;
    loop {
        let page = home.read_from(next).await.map_err(sentence)?;
        let Some((last, _)) = page.last() else { return Ok(Contents { snapshot, records, epoch }) };
        next = last + 1;
        records.extend(page.into_iter().map(|(_, record)| record));
    }
}

/// Copies all there is, reads it back, has the old home refuse every start, and lets the new one be used. Cut short before its last step,
/// when no home can be used, it is that step alone that is made the next time.
async fn carry(world: GlommioWorld, from: Place, to: Place) -> Result<Contents, String> {
    let _still = place::stopped(&from).await?;
    let target = place::target(&world, &to).await?;
    if place::only_release_is_left(&world, &from, &to, &target).await? {
        place::release(&world, target).await?;
        return show(world, to).await;
    }
    let moved = show(world.clone(), from.clone()).await?;
    let copied = match &target {
        Target::Directory(_still, directory) => {
            let home = place::found_in(&world, directory, &from, &moved.snapshot, moved.epoch).await?;
            fill(&home, &moved).await?;
            contents(&home, home.epoch()).await?
        }
        Target::Ensemble(session) => {
            let home = place::found_on(&world, session, &from, &moved.snapshot, moved.epoch).await?;
            fill(&home, &moved).await?;
            contents(&home, home.epoch().await.map_err(|error| error.to_string())?).await?
        }
    };
    if copied != moved {
        return Err(format!("{to} does not read back as {from}, which stays as it is: remove what is in {to}, and try again"));
    }
    place::retire(&world, &from, &to).await?;
    place::release(&world, target).await?;
    Ok(moved)
}

/// Appends what follows the snapshot, at the offsets it has.
async fn fill(home: &impl Home, moved: &Contents) -> Result<(), String> {
    let mut next = moved.snapshot.offset;
    let mut batch = vec![];
    let mut bytes = 0;
    let mut records = moved.records.iter().peekable();
    while let Some(record) = records.next() {
        bytes += line(record).len();
        batch.push(record.clone());
        if records.peek().is_some() && batch.len() < APPENDED_RECORDS_MAX && bytes < APPENDED_BYTES_MAX {
            continue;
        }
        bytes = 0;
        let count = batch.len() as i64;
        match home.append(moved.epoch, next, std::mem::take(&mut batch)).await {
            Ok(Appended::Committed(end)) if end == next + count => next = end,
            Ok(other) => return Err(format!("the new home took offset {next} otherwise than it was asked: {other:?}")),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// What a broker holds while it uses the directory.
fn lock_of(directory: &std::path::Path) -> PathBuf {
    directory.join(crate::storage::layout::LOCK)
}
