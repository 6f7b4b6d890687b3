//! Addresses of the public internet, as opposed to those of this machine and its network.
//!
//! The check is made on what a name resolves to, for every connection: a redirect and a name that changes its answer meet it
//! too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Resolves names, and refuses those of which an address is not allowed.
#[derive(Debug)]
pub(super) struct CheckedResolver<R = DefaultResolver> {
    resolver: R,
    allows: fn(IpAddr) -> bool,
}

impl CheckedResolver {
    pub(super) fn new(allows: fn(IpAddr) -> bool) -> Self {
        Self { resolver: DefaultResolver::default(), allows }
    }
}

impl<R: Resolver> Resolver for CheckedResolver<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        if found.iter().all(|address| (self.allows)(address.ip())) {
            return Ok(found);
        }
        Err(ureq::Error::Other(
            "its host is in a private network, from which this server fetches nothing".into(),
        ))
    }
}

/// Whether an address is one of the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = match (a, b, c) {
        // "This network", carriers' networks, protocol assignments, benchmarks, and what is not assigned.
        (0 | 240..=255, _, _) | (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _) => true,
        _ => false,
    };
    !(reserved
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // IPv4 inside of IPv6: compatible and mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        // Documentation; Teredo, which hides an IPv4 address.
        [0x2001, 0xdb8 | 0, ..] => false,
        // Global unicast is 2000::/3; everything else is local, multicast or not assigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::time::Duration;

    use super::super::Fetcher;
    use super::*;
    use crate::error::Error;
    use crate::progress::{CancelToken, Silent};

    /// The reason for which a fetcher refuses an address.
    fn reason(fetcher: &Fetcher, url: &str) -> String {
        match fetcher.fetch(url, &CancelToken::new(), &mut Silent) {
            Err(Error::Fetch { reason, .. }) => reason,
            other => panic!("{url}: {other:?}"),
        }
    }

    fn fetcher(dir: &std::path::Path) -> Fetcher {
        Fetcher::new(dir).retries(1, Duration::from_millis(1)).timeout(Duration::from_secs(20))
    }

    /// A server that gives every client this answer, bytes with pauses between them; its port.
    fn server(answer: &'static str, pause: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 1024];
                drop(stream.read(&mut head));
                for byte in answer.bytes() {
                    std::thread::sleep(pause);
                    if stream.write_all(&[byte]).is_err() {
                        break;
                    }
                }
            }
        });
        port
    }

    #[test]
    fn a_private_host_is_refused_in_every_notation() {
        let dir = tempfile::tempdir().unwrap();
        // Whoever connects to it gets a file.
        let port = server("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", Duration::ZERO);
        let fetcher = fetcher(dir.path()).public_only(true);
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "a@127.0.0.1",
        ] {
            let reason = reason(&fetcher, &format!("http://{host}:{port}/"));
            assert!(reason.contains("is in a private network"), "{host}: {reason}");
        }
        assert!(
            reason(&fetcher, "http://169.254.169.254/latest").contains("is in a private network")
        );
        // Some systems read these as numbers, and some as names.
        for host in ["127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "localhost."] {
            let reason = reason(&fetcher, &format!("http://{host}:{port}/"));
            let is_name = reason.contains("host is not known")
                || reason.contains("not a valid address")
                || reason.contains("cannot be resolved");
            assert!(reason.contains("is in a private network") || is_name, "{host}: {reason}");
        }
    }

    #[test]
    fn a_redirect_to_a_private_host_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let port = server(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:1/latest\r\nContent-Length: 0\r\n\r\n",
            Duration::ZERO,
        );
        let mut fetcher = fetcher(dir.path());
        // One address stands for the public internet.
        fetcher.hosts = Some(|address| address == IpAddr::from([127, 0, 0, 1]));
        let reason = reason(&fetcher, &format!("http://127.0.0.1:{port}/"));
        assert!(reason.contains("is in a private network"), "{reason}");
    }

    /// Resolves every name to these addresses.
    #[derive(Debug)]
    struct Fixed(&'static [[u8; 4]]);

    impl Resolver for Fixed {
        fn resolve(
            &self,
            _: &Uri,
            _: &Config,
            _: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let mut found = self.empty();
            for address in self.0 {
                found.push(SocketAddr::from((*address, 80)));
            }
            Ok(found)
        }
    }

    #[test]
    fn a_name_with_one_private_address_is_refused() {
        let resolves = |addresses| {
            let resolver = CheckedResolver { resolver: Fixed(addresses), allows: is_public };
            let config = ureq::Agent::config_builder().build();
            let timeout = NextTimeout {
                after: ureq::unversioned::transport::time::Duration::NotHappening,
                reason: ureq::Timeout::Global,
                per_read: None,
                per_write: None,
            };
            resolver.resolve(&Uri::from_static("http://a.example/"), &config, timeout).is_ok()
        };
        assert!(resolves(&[[1, 1, 1, 1], [8, 8, 8, 8]]));
        assert!(!resolves(&[[1, 1, 1, 1], [10, 0, 0, 1]]));
        assert!(!resolves(&[[127, 0, 0, 1]]));
    }

    #[test]
    fn the_time_for_all_files_ends_a_download_that_trickles() {
        let dir = tempfile::tempdir().unwrap();
        let port = server(
            "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            Duration::from_millis(100),
        );
        let fetcher = fetcher(dir.path()).time(Some(Duration::from_millis(500)));
        let url = format!("http://127.0.0.1:{port}/");
        let late = "gave up after 0.5 seconds, the most that all files together may take";
        assert_eq!(reason(&fetcher, &url), late);
        // The next one finds the time over.
        assert_eq!(reason(&fetcher, &url), late);
    }

    #[test]
    fn private_addresses_are_found_in_every_form() {
        for text in [
            "127.0.0.1",
            "127.8.9.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "203.0.113.5",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "fec0::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "198.20.0.1",
            "223.255.255.1",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
