//! Kafka Connect's REST API, over plain HTTP and without authentication: as Kafka's, but open to this machine only unless `listeners` says
//! otherwise.
//!
//! Called by `cli`; calls the worker. A thread accepts, one thread serves each connection, one request each.
//!
//! Invariants:
//! 1. At most [`CONNECTIONS_MAX`] connections are served at one time, each for a bounded time, with a request of bounded size.
//! 2. Every answer that is an error is `{"error_code":N,"message":"..."}`.

mod body;
mod levels;
mod request;
mod routes;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::worker::Worker;

const CONNECTIONS_MAX: usize = 32;
/// For one read or one write of a connection.
const IO_WITHIN: Duration = Duration::from_secs(10);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Listens; the address tells the port where the settings left it open.
pub fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Serves requests for as long as the process runs.
pub fn serve(listener: TcpListener, worker: Arc<Worker>, worker_id: String) -> io::Result<()> {
    let routes = Arc::new(routes::Routes::new(worker, worker_id));
    let open = Arc::new(AtomicUsize::new(0));
    std::thread::Builder::new().name("ottla-rest".into()).spawn(move || {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("REST: accept: {error}");
                    std::thread::sleep(PAUSE_AFTER_ERROR);
                    continue;
                }
            };
            if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
                open.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let (routes, own) = (routes.clone(), open.clone());
            let served = std::thread::Builder::new().name("ottla-rest-connection".into()).spawn(move || {
                if let Err(error) = answer(stream, &routes) {
                    tracing::debug!("REST: {error}");
                }
                own.fetch_sub(1, Ordering::AcqRel);
            });
            if served.is_err() {
                open.fetch_sub(1, Ordering::AcqRel);
            }
        }
    })?;
    Ok(())
}

fn answer(mut stream: TcpStream, routes: &routes::Routes) -> io::Result<()> {
    stream.set_read_timeout(Some(IO_WITHIN))?;
    stream.set_write_timeout(Some(IO_WITHIN))?;
    let response = match request::read(&mut stream)? {
        Ok(request) => routes.answer(&request),
        Err(refused) => refused.response(),
    };
    response.write(&mut stream)?;
    stream.shutdown(Shutdown::Write)
}
