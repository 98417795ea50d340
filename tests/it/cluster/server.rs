//! Server processes that never outlive the test process.
//!
//! `unsafe` is forbidden, so the kernel cannot be asked to end a child with its parent. Instead each server is the child of a
//! few lines of shell that hold the read end of a pipe from us: however this process ends (return, panic, SIGKILL), the pipe
//! closes, the shell kills its server and removes its folder.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How long a server may take to answer: 20 times the usual 3 s of kube-apiserver, for machines that build beside it.
pub const READY_DEADLINE: Duration = Duration::from_mins(1);

/// Between two questions whether it answers.
const READY_PACE: Duration = Duration::from_millis(50);

/// How much of a failed server's log goes into the error.
const LOG_TAIL_BYTES: usize = 4_000;

/// `$1` is the folder to remove, the rest is the server. Ends when the server ends or standard input closes.
const WATCHDOG: &str = r#"
folder=$1; shift
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
echo "$server" > "$folder/server.pid"
{ read -r _ <&3; kill -KILL "$server"; } 2>/dev/null &
watcher=$!
wait "$server"; status=$?
kill -KILL "$watcher" 2>/dev/null
# 137 is the end by our own hand; a server that ended by itself leaves its log to be read.
if [ "$status" -eq 137 ]; then rm -rf "$folder"; fi
exit "$status"
"#;

/// A running server with a folder of its own, ended on drop or with this process, whichever comes first.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    folder: PathBuf,
    watchdog: Child,
    /// Held open as long as the server shall run.
    pipe: Option<ChildStdin>,
}

// === impl Server ===

impl Server {
    /// Starts `program` with `arguments`; its output goes to `log` in `folder`, which is removed in the end.
    pub fn start(
        name: &'static str,
        folder: PathBuf,
        program: &Path,
        arguments: &[String],
    ) -> io::Result<Self> {
        let log = fs::File::create(folder.join("log"))?;
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, name])
            .arg(&folder)
            .arg(program)
            .args(arguments)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let pipe = watchdog.stdin.take();
        Ok(Self { name, folder, watchdog, pipe })
    }

    /// Asks `answers` until it says yes.
    ///
    /// # Panics
    /// With the end of the server's log when the server ends first or [`READY_DEADLINE`] passes.
    pub async fn ready(&mut self, answers: impl AsyncFn() -> bool) {
        let waited = tokio::time::timeout(READY_DEADLINE, async {
            loop {
                if answers().await {
                    return Ok(());
                }
                if let Ok(Some(status)) = self.watchdog.try_wait() {
                    return Err(status);
                }
                tokio::time::sleep(READY_PACE).await;
            }
        });
        match waited.await {
            Ok(Ok(())) => {}
            Ok(Err(status)) => self.fail(&ended(status)),
            Err(_) => self.fail(&format!("did not answer within {READY_DEADLINE:?}")),
        }
    }

    /// Sends a signal, by its name without `SIG`, to the server itself.
    pub fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.folder.join("server.pid")).expect("it runs");
        let status = Command::new("/bin/kill").args(["-s", name, pid.trim()]).status();
        assert!(status.expect("kill runs").success(), "{} got no {name}", self.name);
    }

    /// The folder of this server: removed when it ends.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last lines that it wrote, for errors.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{} {what}; its log ends with:\n{}", self.name, self.log_tail());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // The watchdog ends at once after the server; a failure here leaves nothing to do in a drop.
        let _ = self.watchdog.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn ended(status: ExitStatus) -> String {
    format!("ended before it answered ({status})")
}

/// A new empty folder for one server, readable by nobody else.
pub fn folder(name: &str) -> PathBuf {
    use std::os::unix::fs::DirBuilderExt as _;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let path = std::env::temp_dir().join(format!(
        "tidegate-{name}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    // What a killed process with the same id may have left.
    let _ = fs::remove_dir_all(&path);
    fs::DirBuilder::new().mode(0o700).create(&path).expect("a temporary folder can be made");
    path
}

/// A port on which nothing listens, never given twice by this process.
///
/// Below the range from which the kernel takes the ports of outgoing connections, so that none of those can take it before
/// the server does; where the search begins depends on the process, so that two runs side by side do not meet.
pub fn free_port() -> u16 {
    const FIRST: u16 = 16_000;
    const COUNT: u16 = 16_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let port = FIRST + (start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT - 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that writes its process id once it runs, and then stays.
    async fn staying() -> (Server, String) {
        let script = "echo $$ > started && mv started pid && exec sleep 600";
        let arguments = ["-c", script].map(str::to_owned);
        let mut server = Server::start("sleep", folder("sleep"), Path::new("/bin/sh"), &arguments).unwrap();
        let file = server.folder().join("pid");
        server.ready(async || file.exists()).await;
        (server, fs::read_to_string(file).unwrap().trim().to_owned())
    }

    fn runs(pid: &str) -> bool {
        Command::new("/bin/kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap().success()
    }

    #[tokio::test]
    async fn a_dropped_server_is_gone_with_its_folder() {
        let (server, pid) = staying().await;
        let folder = server.folder().to_owned();
        assert!(runs(&pid));
        drop(server);
        assert!(!runs(&pid));
        assert!(!folder.exists());
    }

    /// The kernel closes our pipes when we are killed; nothing else of ours runs then.
    #[tokio::test]
    async fn a_closed_pipe_alone_ends_the_server_and_its_folder() {
        let (mut server, pid) = staying().await;
        drop(server.pipe.take());
        assert_eq!(server.watchdog.wait().unwrap().code(), Some(137));
        assert!(!runs(&pid));
        assert!(!server.folder().exists());
    }

    #[tokio::test]
    #[should_panic(
        expected = "liar ended before it answered (exit status: 7); its log ends with:\nno port for me"
    )]
    async fn a_server_that_ends_early_is_reported_with_its_own_words() {
        let arguments = ["-c", "echo no port for me; exit 7"].map(str::to_owned);
        let mut server = Server::start("liar", folder("liar"), Path::new("/bin/sh"), &arguments).unwrap();
        server.ready(async || false).await;
    }

    #[test]
    fn ports_are_given_once_and_lie_below_those_of_outgoing_connections() {
        let ports: Vec<u16> = (0..8).map(|_| free_port()).collect();
        let distinct: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(distinct.len(), ports.len());
        assert!(ports.iter().all(|port| (16_000..32_000).contains(port)), "{ports:?}");
    }
}
