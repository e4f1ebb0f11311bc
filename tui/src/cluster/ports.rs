//! Whether a port of this host is free, and who has it.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

/// What a port is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// TCP, opened by an engine that may do more than we may.
    ByEngine,
    /// TCP and UDP, opened by a process of ours.
    ByProcess,
}

/// Why `addr` cannot be used, or `None` if it is free. Another program may still take it right afterwards.
pub(crate) fn trouble(addr: SocketAddr, wanted: Wanted) -> Option<String> {
    let tcp = TcpListener::bind(addr).map(|_| ());
    let tried = match wanted {
        Wanted::ByEngine => tcp,
        Wanted::ByProcess => tcp.and_then(|()| UdpSocket::bind(addr).map(|_| ())),
    };
    let error = tried.err()?;
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let owner = describe_owner(addr.port()).map_or_else(String::new, |owner| format!(" by {owner}"));
            Some(format!("port {} is already in use{owner}", addr.port()))
        }
        // Ports below 1024: the engine may open them, and if it may not, it will say so.
        io::ErrorKind::PermissionDenied if wanted == Wanted::ByEngine => None,
        io::ErrorKind::AddrNotAvailable => Some(format!("this host has no address {}", addr.ip())),
        _ => Some(format!("port {} cannot be opened: {error}", addr.port())),
    }
}

/// A TCP port of `ip` that was free a moment ago.
pub(crate) fn free_one(ip: IpAddr) -> io::Result<u16> {
    Ok(TcpListener::bind((ip, 0))?.local_addr()?.port())
}

/// `python3 (pid 4711)`: who listens on a TCP port, as far as this user may know.
pub(crate) fn describe_owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| listening_inode(line, port))
    })?;
    let socket = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = |fd: &fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == socket.as_str());
        if open.flatten().any(|fd| holds(&fd)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// The socket's inode, if this line of `/proc/net/tcp` is about somebody who listens on `port`.
fn listening_inode(line: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let (_, local_port) = local.rsplit_once(':')?;
    if state != LISTEN || u16::from_str_radix(local_port, 16).ok()? != port {
        return None;
    }
    fields.nth(5)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_owner() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = held.local_addr().unwrap();
        let trouble = trouble(addr, Wanted::ByEngine).unwrap();
        assert!(trouble.starts_with(&format!("port {} is already in use by ", addr.port())), "{trouble}");
        assert!(trouble.contains(&format!("(pid {})", std::process::id())), "{trouble}");
    }

    #[test]
    fn a_process_also_needs_the_udp_port() {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = held.local_addr().unwrap();
        assert!(trouble(addr, Wanted::ByProcess).is_some());
    }

    #[test]
    fn lines_of_the_kernels_table_are_read() {
        let line =
            "   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0";
        assert_eq!(listening_inode(line, 5000), Some(4242));
        assert_eq!(listening_inode(line, 5001), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 5000), None, "connected, not listening");
        assert_eq!(listening_inode("garbage", 5000), None);
    }
}
