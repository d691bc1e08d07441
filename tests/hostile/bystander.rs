//! A client that minds its own business while others misbehave: it produces a record of 1 KiB every few milliseconds, and knows how long
//! each took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::broker::Broker;
use crate::support::heavy;
use crate::support::records::Batch;
use crate::support::topics;

const TOPIC: &str = "bystander";
const EVERY: Duration = Duration::from_millis(2);
/// Fewer tell nothing.
const RECORDS_MIN: usize = 50;

/// The 99.9th percentile that a machine of one's own is to hold, and what one that has other work than this is allowed.
const BOUND_ALONE: Duration = Duration::from_millis(5);
const BOUND_SHARED: Duration = Duration::from_secs(1);
/// The median, on either.
const MEDIAN_ALONE: Duration = Duration::from_millis(20);
const MEDIAN_SHARED: Duration = Duration::from_millis(100);

pub struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    pub fn start(broker: &Broker) -> Bystander {
        let mut connection = broker.connect();
        topics::create(&mut connection, TOPIC, 1, &[]);
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let batch = Batch::at(1_700_000_000_000).value([b'v'; 1024]).encode();
            let mut took = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let began = Instant::now();
                topics::produce(&mut connection, TOPIC, 0, batch.clone());
                took.push(began.elapsed());
                std::thread::sleep(EVERY.saturating_sub(began.elapsed()));
            }
            took
        });
        Bystander { stop, thread }
    }

    /// Ends and says how it fared during `what`; an error says which bound was not held.
    pub fn finish(self, what: &str) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.thread.join().expect("every record of the bystander is acknowledged");
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
        let (median, worst) = (at(0.5), at(0.999));
        println!("{what}: {} records of a bystander, median {median:?}, p99.9 {worst:?}", took.len());
        if took.len() < RECORDS_MIN {
            return Err(format!("{what}: only {} records went through", took.len()));
        }
        let (worst_max, median_max) = if heavy() { (BOUND_ALONE, MEDIAN_ALONE) } else { (BOUND_SHARED, MEDIAN_SHARED) };
        if worst > worst_max {
            return Err(format!("{what}: p99.9 of {worst:?}, {worst_max:?} allowed"));
        }
        if median > median_max {
            return Err(format!("{what}: median of {median:?}, {median_max:?} allowed"));
        }
        Ok(())
    }
}
