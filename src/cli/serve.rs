//! `ottla serve`: reads the configuration, looks whether the machine will do, takes the data directories, and runs the broker until it is
//! told to stop.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use futures_lite::future::block_on;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tracing_subscriber::EnvFilter;

use crate::config::listeners::Listener;
use crate::config::settings::AppendPath;
use crate::config::{BrokerSettings, Environment, Properties, Resolved};
use crate::io::glommio::probe::{Findings, Requirements};
use crate::io::glommio::{self, GlommioWorld, Settings};
use crate::io::zookeeper::{self, ZooKeeper};
use crate::metadata::zookeeper::Limits;
use crate::server::loggers;
use crate::server::node::{self, Ready};
use crate::shard::directories::METADATA_DIRECTORY;
use crate::shard::mailbox::Mesh;
use crate::shard::message::Message;
use crate::storage::layout;
use crate::types::ShardId;

use super::console::Console;
use super::failure::Failure;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ottla serve
  ottla serve --config server.properties
  ottla serve --override listeners=PLAINTEXT://127.0.0.1:19092 --override log.dirs=/var/lib/ottla

Without a file: node 1, listening on 127.0.0.1:9092, data in ./ottla-data. SIGTERM stops it cleanly.")]
pub struct Args {
    /// Kafka's server.properties.
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Kafka's server.properties; the same as FILE.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A property that wins over the file's.
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_and_value)]
    overrides: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("it is to have the form KEY=VALUE".into()),
    }
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let begun = Instant::now();
    start_log(loggers::OF_BROKER);
    let sentence = |why: &dyn std::fmt::Display| Failure::Sentence(why.to_string());
    let cpus = glommio::usable_cpus().map_err(|error| sentence(&error))?;
    let Resolved { mut settings, warnings, notes } = resolve(args, cpus.len())?;
    for directory in &mut settings.storage.directories {
        // As DescribeLogDirs shows it, whatever the working directory of who asks.
        *directory = std::path::absolute(&directory).map_err(|error| sentence(&error))?;
    }
    for line in &notes {
        writeln!(console.err()?, "{line}")?;
    }
    for line in &warnings {
        writeln!(console.err()?, "warning: {line}")?;
    }
    let _locks = lock_directories(&settings.storage.directories)?;
    let findings = Requirements::check(&settings.storage.directories[0], settings.shards.count).map_err(|error| sentence(&error))?;
    for line in &findings.warnings {
        writeln!(console.err()?, "warning: {line}")?;
    }
    look_up_overrides(&mut settings.network.connections_per_ip_overrides)?;
    let addresses = bind_addresses(&settings.network.listeners.open)?;
    for (address, first) in addresses.iter().zip(&settings.shards.ports) {
        let Some(first) = first else { continue };
        for port in (0..settings.shards.count).map(|shard| first + shard) {
            address_is_free("ottla.shard.listeners", SocketAddr::new(address.ip(), port))?;
        }
    }
    if let Some(address) = settings.metrics.listener {
        address_is_free("ottla.metrics.listener", address)?;
    }
    let termination = glommio::termination().map_err(|error| sentence(&error))?;
    let zookeeper = match &settings.node.zookeeper {
        Some(wanted) => match connect(wanted, &termination)? {
            Some(connected) => Some(connected),
            None => return Ok(()),
        },
        None => None,
    };
    let run_settings = shard_settings(&settings, findings)?;
    let placements = glommio::placements(settings.shards.count).map_err(|error| sentence(&error))?;
    let mesh: Mesh<Message<GlommioWorld>> = Mesh::new(settings.shards.count, settings.shards.mailbox_slots as usize);
    let settings = Arc::new(settings);
    let ended = glommio::start_shards(&placements, &run_settings, move |id, world| {
        let (mesh, settings, addresses, termination) = (mesh.clone(), settings.clone(), addresses.clone(), termination.clone());
        let zookeeper = zookeeper.clone();
        async move {
            if id != ShardId(0) {
                node::run_shard(world, mesh, id, settings).await;
                return Ok(());
            }
            let (ready, stop) = (|ready: Ready| announce(&ready, begun), termination.requested());
            let outcome = match zookeeper {
                None => node::run_home_shard(world, mesh, settings, addresses, ready, stop).await,
                Some(tree) => {
                    let home = (tree.clone(), Limits::default());
                    let outcome = node::run_on_tree(world, mesh, settings, addresses, home, ready, stop).await;
                    // The next start of this node need not wait for the session to expire.
                    tree.close().await;
                    outcome
                }
            };
            if let Err(why) = &outcome
                && !termination.is_requested()
            {
                // The other shards wait for words that will not come, or serve what is lost: the process ends here.
                eprintln!("{why}");
                std::process::exit(1);
            }
            outcome
        }
    });
    let outcomes = ended.map_err(|error| sentence(&error))?;
    outcomes.into_iter().find_map(Result::err).map_or(Ok(()), |why| Err(Failure::Sentence(why)))
}

/// Begins a session with ZooKeeper; `None` if the broker is to stop before there is one.
fn connect(settings: &zookeeper::Settings, termination: &glommio::Termination) -> Result<Option<ZooKeeper>, Failure> {
    let opened = async { Some(ZooKeeper::open(settings.clone()).await) };
    let stopped = async {
        termination.requested().await;
        None
    };
    block_on(opened.or(stopped)).transpose().map_err(Failure::Sentence)
}

/// `names` are the loggers whose levels clients may set.
pub(super) fn start_log(names: &'static [&'static str]) {
    let (started_with, filter) = match std::env::var("OTTLA_LOG").map(|text| (EnvFilter::try_new(&text), text)) {
        Ok((Ok(filter), text)) => (text, filter),
        _ => ("info".to_owned(), EnvFilter::new("info")),
    };
    let log = tracing_subscriber::fmt()
        // A full disk under the log of this process must not end it: what cannot be written is left out.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_filter_reloading();
    let filters = log.reload_handle();
    // A second subscriber is refused, and the first goes on.
    if log.try_init().is_ok() {
        loggers::install(names, &started_with, move |directives| {
            let changed = EnvFilter::try_new(directives).map(|filter| filters.reload(filter));
            if !matches!(changed, Ok(Ok(()))) {
                tracing::error!("the levels of the log cannot be changed to {directives}");
            }
        });
    }
}

fn resolve(args: &Args, cores: usize) -> Result<Resolved, Failure> {
    let file = match args.file.as_ref().or(args.config.as_ref()) {
        Some(path) => {
            let shown = path.display().to_string();
            let bytes = fs::read(path).map_err(|error| Failure::Sentence(format!("{shown}: {error}")))?;
            Some(Properties::parse(&shown, &bytes).map_err(|error| Failure::Sentence(error.to_string()))?)
        }
        None => None,
    };
    let host_names = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).into_iter().collect();
    let environment = Environment { cores: u16::try_from(cores).unwrap_or(u16::MAX), host_names };
    BrokerSettings::resolve(file, &args.overrides, &environment).map_err(|refusal| Failure::Sentence(refusal.to_string()))
}

/// Takes every log directory for this process alone, creating what is missing. One whose disk fails is left out, unless it is the first, which
/// holds the metadata: the broker finds that out by itself.
fn lock_directories(directories: &[PathBuf]) -> Result<Vec<Flock<File>>, Failure> {
    let mut locks = Vec::new();
    for (index, directory) in directories.iter().enumerate() {
        let failed = |error: &dyn std::fmt::Display| Failure::Sentence(format!("log.dirs: {}: {error}", directory.display()));
        let is_lost = |error: &std::io::Error| {
            let code = error.raw_os_error().map(Errno::from_raw);
            matches!(code, Some(Errno::EIO | Errno::EROFS | Errno::ENXIO | Errno::ENODEV | Errno::ESHUTDOWN))
        };
        let made = fs::create_dir_all(directory);
        let opened = made.as_ref().ok().map(|()| File::create(directory.join(layout::LOCK)));
        let file = match (opened, made) {
            (Some(Ok(file)), _) => file,
            // What may be used after all must not be used without its lock.
            (Some(Err(error)), _) if index == METADATA_DIRECTORY || !is_lost(&error) => return Err(failed(&error)),
            (None, Err(error)) if index == METADATA_DIRECTORY => return Err(failed(&error)),
            _ => continue,
        };
        locks.push(Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => failed(&"another process uses this directory; stop it, or set log.dirs to another"),
            other => failed(&other),
        })?);
    }
    Ok(locks)
}

/// The address of each listener, names looked up.
fn bind_addresses(listeners: &[Listener]) -> Result<Vec<SocketAddr>, Failure> {
    let address = |listener: &Listener| {
        let ip = match listener.host.as_deref() {
            None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(host) => look_up("listeners", host)?,
        };
        let address = SocketAddr::new(ip, listener.port);
        address_is_free("listeners", address)?;
        Ok(address)
    };
    listeners.iter().map(address).collect()
}

/// Shards share their port; another process must not be found sharing it too.
fn address_is_free(key: &str, address: SocketAddr) -> Result<(), Failure> {
    glommio::probe::address_is_free(address)
        .map_err(|error| Failure::Sentence(format!("{key}: cannot listen on {address}: {error}; stop what uses it, or set another port")))
}

/// Host names of `max.connections.per.ip.overrides` in place of which their addresses are counted.
fn look_up_overrides(overrides: &mut BTreeMap<String, u32>) -> Result<(), Failure> {
    let given = std::mem::take(overrides);
    for (host, count) in given {
        let address = match host.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => look_up("max.connections.per.ip.overrides", &host)?,
        };
        overrides.insert(address.to_canonical().to_string(), count);
    }
    Ok(())
}

fn look_up(key: &str, host: &str) -> Result<IpAddr, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::Sentence(format!("{key}: {host} has no address ({why}); name one that has"));
    let mut found = (host, 0).to_socket_addrs().map_err(|error| failed(&error))?;
    found.next().map(|address| address.ip()).ok_or_else(|| failed(&"none found"))
}

fn shard_settings(settings: &BrokerSettings, findings: Findings) -> Result<Settings, Failure> {
    let mut devices = vec![findings.traits];
    // What is to be known of a disk that fails is found out by the broker.
    devices.extend(settings.storage.directories.iter().skip(1).filter_map(|directory| glommio::probe::device_traits(directory).ok()));
    let forced = match settings.storage.append_path {
        AppendPath::Auto => None,
        AppendPath::Inline => Some(glommio::AppendPath::Inline),
        AppendPath::Nowait => Some(glommio::AppendPath::NowaitThenRing),
        AppendPath::Ring => Some(glommio::AppendPath::Ring),
    };
    if let Some(append) = forced {
        devices.iter_mut().for_each(|device| device.append = append);
    }
    let spin_us = settings.shards.spin_us;
    Ok(Settings {
        spin_before_park: (spin_us > 0).then(|| Duration::from_micros(spin_us.into())),
        congestion_control: settings.network.tcp_congestion_control.clone(),
        devices,
        timing: settings.metrics.timing(),
        ..Settings::default()
    })
}

/// One line per listener, the metrics' too: what scripts and people wait for.
fn announce(ready: &Ready, begun: Instant) {
    let opened = ready.opened;
    let mut out = std::io::stdout().lock();
    // A closed standard output does not stop a broker.
    let mut say = |line: String| drop(writeln!(out, "{line}"));
    for (name, address) in &ready.listeners {
        say(format!("listening on {address} ({name})"));
    }
    if let Some(address) = ready.metrics {
        say(format!("metrics on {address}"));
    }
    let recovered = match opened.recovered_bytes {
        0 => String::new(),
        bytes => format!(", {bytes} bytes re-read after an unclean stop, {} cut off", opened.truncated_bytes),
    };
    say(format!(
        "cluster {}, {} partitions opened{recovered}, ready after {:.1} ms",
        ready.cluster_id,
        opened.partitions,
        begun.elapsed().as_secs_f64() * 1e3
    ));
    drop(out.flush());
}
