//! `HOST:PORT[,HOST:PORT...][/chroot]`: where an ensemble is, and which part of its tree is meant.

use std::fmt;

/// The port of a server that is named without one.
const DEFAULT_PORT: u16 = 2181;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// `host:port` of each server.
    pub servers: Vec<String>,
    /// Empty for the whole tree, else a path.
    pub chroot: String,
}

impl Address {
    /// Reads an address as it is written on a command line or in a property; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (servers, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
        let chroot = chroot.trim_end_matches('/');
        if chroot.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(format!("{text}: {chroot} is not the path of a node"));
        }
        let servers: Result<Vec<String>, String> = servers.split(',').map(|server| parse_server(text, server.trim())).collect();
        Ok(Self { servers: servers?, chroot: chroot.to_owned() })
    }

    /// The servers alone, as ZooKeeper's clients take them.
    pub fn servers(&self) -> String {
        self.servers.join(",")
    }
}

fn parse_server(text: &str, server: &str) -> Result<String, String> {
    let (host, port) = match server.rsplit_once(':') {
        // An address of IPv6 without a port ends in a bracket.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (server, Some(DEFAULT_PORT)),
    };
    match port {
        Some(port) if !host.is_empty() && port != 0 => Ok(format!("{host}:{port}")),
        _ => Err(format!("{text}: it is to be host:port, more of them after commas, and then the path of a node or nothing")),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.servers.join(","), self.chroot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers_and_chroot() {
        let read = |text: &str| Address::parse(text).map(|address| (address.servers(), address.chroot));
        let of = |servers: &str, chroot: &str| Ok((servers.to_owned(), chroot.to_owned()));
        assert_eq!(read("a:1"), of("a:1", ""));
        assert_eq!(read("a"), of("a:2181", ""));
        assert_eq!(read("a:1,b,[::1]:3/x/y"), of("a:1,b:2181,[::1]:3", "/x/y"));
        assert_eq!(read("a:1/"), of("a:1", ""));
        assert_eq!(read("a:1, b:2/kafka/"), of("a:1,b:2", "/kafka"));
        for wrong in ["", ":1", "a:", "a:0", "a:x", "a:1,,b:2", "a:1//x", "a:1/../x", "/kafka"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Address::parse("a:1,b:2/k").unwrap().to_string(), "a:1,b:2/k");
    }
}
