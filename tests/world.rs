//! What the real world does to the process it runs in: panics, signals, limits, the end of a shard. Each case that ends or limits a
//! process runs in a child of its own.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ottla::io::glommio::{GlommioWorld, Settings, placements, start_shards, termination};
use ottla::io::{Accepted, Follows, Listener, Reader, Urgency, World, Writer};

const LOOPBACK: &str = "127.0.0.1:0";
const CHILD: &str = "OTTLA_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the test of this name again, as a child.
fn in_child(test: &str) -> Output {
    let arguments = [test, "--exact", "--nocapture", "--test-threads=1"];
    Command::new(std::env::current_exe().unwrap()).args(arguments).env(CHILD, test).output().unwrap()
}

fn on_one_shard<Body: Future<Output = ()> + 'static>(body: impl Fn(GlommioWorld) -> Body + Clone + Send + 'static) {
    start_shards(&placements(1).unwrap(), &Settings::default(), move |_, world| body(world)).unwrap();
}

fn assert_ended_with_message(output: &Output, message: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(errors.contains(message), "{errors}");
}

#[test]
fn a_panic_in_a_task_ends_the_process() {
    if is_child() {
        on_one_shard(|world| async move {
            world.spawn(Urgency::Background, async { panic!("the sky falls") });
            std::future::pending().await
        });
    }
    let output = in_child("a_panic_in_a_task_ends_the_process");
    assert_ended_with_message(&output, "ottla-shard-0: ");
    assert_ended_with_message(&output, "the sky falls");
}

#[test]
fn a_panic_in_offloaded_work_ends_the_process() {
    if is_child() {
        on_one_shard(|world| async move { world.offload(|| panic!("the sea rises")).await });
    }
    assert_ended_with_message(&in_child("a_panic_in_offloaded_work_ends_the_process"), "the sea rises");
}

#[test]
fn the_second_termination_signal_ends_the_process() {
    if is_child() {
        let termination = termination().unwrap();
        on_one_shard(move |world| {
            let termination = termination.clone();
            async move {
                kill(Pid::this(), Signal::SIGTERM).unwrap();
                termination.requested().await;
                kill(Pid::this(), Signal::SIGINT).unwrap();
                world.sleep(Duration::from_secs(30)).await;
            }
        });
    }
    assert_eq!(in_child("the_second_termination_signal_ends_the_process").status.code(), Some(130));
}

#[test]
fn a_full_table_of_descriptors_is_an_error_of_accept() {
    if is_child() {
        on_one_shard(|world| async move {
            let listener = world.listen(LOOPBACK.parse().unwrap()).await.unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
            let mut fillers: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
            fillers.pop();
            let _client = TcpStream::connect(listener.local_addr()).unwrap();
            let refused = listener.accept().await.err().and_then(|error| error.raw_os_error());
            assert_eq!(refused, Some(libc::EMFILE));
            fillers.clear();
            let Accepted { mut writer, .. } = listener.accept().await.unwrap();
            writer.write_all(Bytes::from_static(b"well"), Follows::Nothing).await.unwrap();
        });
        return;
    }
    let output = in_child("a_full_table_of_descriptors_is_an_error_of_accept");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_shard_that_ends_drops_its_tasks_and_closes_their_connections() {
    struct Dropped(mpsc::Sender<&'static str>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }
    let (address_sender, address) = mpsc::channel::<SocketAddr>();
    let (drop_sender, drops) = mpsc::channel();
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address.recv().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    });
    on_one_shard(move |world| {
        let (address_sender, drop_sender) = (address_sender.clone(), drop_sender.clone());
        async move {
            let listener = world.listen(LOOPBACK.parse().unwrap()).await.unwrap();
            address_sender.send(listener.local_addr()).unwrap();
            let Accepted { mut reader, mut writer, .. } = listener.accept().await.unwrap();
            writer.write_all(Bytes::from_static(b"all"), Follows::Nothing).await.unwrap();
            world.spawn(Urgency::Foreground, async move {
                let _dropped = Dropped(drop_sender);
                let _writer = writer;
                // The peer says nothing: this waits until the shard ends.
                let _read = reader.read(&mut BytesMut::with_capacity(10)).await;
            });
            world.sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(drops.try_recv(), Ok("dropped"));
    assert_eq!(client.join().unwrap(), b"all");
}

#[test]
fn an_idle_shard_costs_next_to_nothing() {
    if is_child() {
        on_one_shard(|world| async move {
            let used = || nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
            let seconds = |used: nix::sys::resource::Usage| {
                let (user, system) = (used.user_time(), used.system_time());
                (user.tv_sec() + system.tv_sec()) as f64 + (user.tv_usec() + system.tv_usec()) as f64 / 1e6
            };
            let before = seconds(used());
            world.sleep(Duration::from_secs(2)).await;
            let spent = seconds(used()) - before;
            assert!(spent < 0.02, "{spent} s of 2 s");
        });
        return;
    }
    let output = in_child("an_idle_shard_costs_next_to_nothing");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
