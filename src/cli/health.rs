//! Asks the running bridge how it is, for a container's health check.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::config::Appservice;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// Why the bridge is not known to be well.
#[derive(Debug, thiserror::Error)]
pub(super) enum HealthFault {
    /// Nobody answers.
    #[error("the bridge does not answer at {0}: {1}")]
    Unreachable(String, io::Error),
    /// It says so itself.
    #[error("the bridge is not well: {0}")]
    Unwell(String),
}

/// What the bridge says about itself when it is well.
///
/// # Errors
/// [`HealthFault`] otherwise.
pub(super) fn ask(appservice: &Appservice) -> Result<String, HealthFault> {
    let place = format!("{}:{}", appservice.hostname, appservice.port);
    let answer = fetch(&appservice.hostname, appservice.port).map_err(|why| HealthFault::Unreachable(place, why))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    // RFC 9112 section 4: `HTTP/1.1 200 OK`.
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        Ok(body.trim().to_owned())
    } else {
        Err(HealthFault::Unwell(format!("status {status}, {}", body.trim())))
    }
}

fn fetch(hostname: &str, port: u16) -> io::Result<String> {
    let mut stream = connect(hostname, port)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer comes whole and ends with the connection (RFC 1945 section 7.2.2).
    stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_LIMIT).read_to_string(&mut answer)?;
    Ok(answer)
}

fn connect(hostname: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (hostname, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&reachable(address), PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// "Every address" can be listened on but not called: then this machine is meant.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What `ask` makes of one answer, over a real socket.
    fn ask_one(answer: &'static str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        let told = ask_at("0.0.0.0", port);
        assert!(server.join().unwrap().starts_with("GET /health HTTP/1.0\r\n"));
        told
    }

    fn ask_at(hostname: &str, port: u16) -> Result<String, String> {
        let text = format!(
            "homeserver: {{address: 'http://h', domain: d.example}}\n\
             appservice: {{address: 'http://a', hostname: {hostname}, port: {port}, as_token: a, hs_token: b}}\n\
             bridge: {{permissions: {{'*': user}}}}\nencryption: {{pickle_key: c}}\n"
        );
        let config = crate::config::Config::parse(&text, "c", &crate::config::Environment::default()).unwrap();
        ask(&config.appservice).map_err(|why| why.to_string())
    }

    #[test]
    fn a_bridge_that_is_well_is_believed() {
        assert_eq!(ask_one("HTTP/1.0 200 OK\r\n\r\nall well\n"), Ok("all well".to_owned()));
    }

    #[test]
    fn a_bridge_that_is_not_is_quoted() {
        let told = ask_one("HTTP/1.0 503 Service Unavailable\r\n\r\ndatabase: gone");
        assert_eq!(told, Err("the bridge is not well: status 503, database: gone".to_owned()));
    }

    #[test]
    fn nobody_there_is_told_with_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let told = ask_at("127.0.0.1", port).unwrap_err();
        assert!(told.starts_with(&format!("the bridge does not answer at 127.0.0.1:{port}: ")), "{told}");
    }
}
