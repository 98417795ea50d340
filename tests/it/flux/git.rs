//! A real Git server: `git http-backend` behind a few lines of HTTP, with clone and push over smart HTTP, and the working copy
//! of a human who commits to it.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{fs, thread};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cluster::server::folder;
use crate::cluster::tools;

/// Largest pack that is taken: the repositories of these suites have some kB.
const BODY_MAX_BYTES: usize = 16 * 1024 * 1024;
/// The branch of every repository.
pub const BRANCH: &str = "main";

/// A running server with a folder of repositories; both go when it is dropped.
pub struct GitServer {
    root: Arc<PathBuf>,
    url: String,
    server: JoinHandle<()>,
}

/// One repository on the server, and a working copy of it.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Where controllers clone it from and push it to.
    pub url: String,
    bare: PathBuf,
    work: PathBuf,
}

/// One commit of the branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Full hash.
    pub hash: String,
    /// Who wrote it: `human` for [`Repository::commit`].
    pub author: String,
    /// Committer's time, seconds since 1970.
    pub at_secs: i64,
    /// Subject and body.
    pub message: String,
}

// === impl GitServer ===

impl GitServer {
    /// Starts a server without repositories on the current runtime; `None` after one printed line when Git is missing (a panic
    /// under `CI`).
    pub async fn start(suite: &str) -> Option<Self> {
        let asked = Command::new("git").arg("--exec-path").output();
        let programs = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok());
        if !programs.is_some_and(|programs| Path::new(programs.trim_end()).join("git-http-backend").exists())
        {
            tools::skip(suite, "git with git-http-backend is not installed; it is in the package git");
            return None;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback can be bound");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let root = Arc::new(folder("git"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&root));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Some(Self { root, url, server })
    }

    /// Makes a repository whose first commit holds `files` (path and content).
    pub fn create(&self, name: &str, files: &[(&str, &str)]) -> Repository {
        let bare = self.root.join(format!("{name}.git"));
        let work = self.root.join(name);
        git(
            &self.root,
            &["init", "--quiet", "--bare", "--initial-branch", BRANCH, &bare.display().to_string()],
        );
        git(&bare, &["config", "http.receivepack", "true"]);
        // No housekeeping beside a test.
        git(&bare, &["config", "receive.autogc", "false"]);
        git(&self.root, &["clone", "--quiet", &bare.display().to_string(), &work.display().to_string()]);
        git(&work, &["switch", "--quiet", "--orphan", BRANCH]);
        let repository = Repository { url: format!("{}/{name}.git", self.url), bare, work };
        repository.put(files, "Begin");
        repository
    }

    /// The bare repository that a URL of this server names.
    pub fn folder_of(&self, url: &str) -> Option<PathBuf> {
        let name = url.strip_prefix(&self.url)?.trim_start_matches('/');
        let folder = self.root.join(name);
        folder.exists().then_some(folder)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.server.abort();
        // Nothing is left to do in a drop when it fails.
        let _ = fs::remove_dir_all(self.root.as_path());
    }
}

// === impl Repository ===

impl Repository {
    /// Writes `files` (path and content) as one commit of a human on top of the branch. Answers its hash.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        git(&self.work, &["fetch", "--quiet", "origin"]);
        git(&self.work, &["reset", "--quiet", "--hard", &format!("origin/{BRANCH}")]);
        self.put(files, message)
    }

    /// The newest commit of the branch.
    pub fn head(&self) -> String {
        head(&self.bare, BRANCH).expect("the branch has a commit")
    }

    /// All commits of the branch, newest first.
    pub fn log(&self) -> Vec<Commit> {
        self.log_of(BRANCH)
    }

    /// All commits of another branch (`push.branch`), newest first; none when it is absent.
    pub fn log_of(&self, branch: &str) -> Vec<Commit> {
        if head(&self.bare, branch).is_none() {
            return Vec::new();
        }
        let text = git(&self.bare, &["log", "--format=%H%x00%an%x00%ct%x00%B%x01", branch]);
        text.split('\u{1}').map(str::trim).filter(|entry| !entry.is_empty()).map(commit).collect()
    }

    /// What a file holds at the newest commit of the branch.
    pub fn read(&self, path: &str) -> String {
        self.read_at(BRANCH, path)
    }

    /// What a file holds at a commit or at the head of a branch.
    pub fn read_at(&self, revision: &str, path: &str) -> String {
        git(&self.bare, &["show", &format!("{revision}:{path}")])
    }

    /// The lines that a commit added, of all files.
    pub fn added(&self, commit: &str) -> String {
        let shown = git(&self.bare, &["show", "--format=", "--unified=0", commit]);
        let added = shown.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++"));
        added.map(|line| &line[1..]).collect::<Vec<_>>().join("\n")
    }

    /// Takes a file away and writes others, as one commit of a human. Answers its hash.
    pub fn remove(&self, path: &str, files: &[(&str, &str)], message: &str) -> String {
        git(&self.work, &["fetch", "--quiet", "origin"]);
        git(&self.work, &["reset", "--quiet", "--hard", &format!("origin/{BRANCH}")]);
        fs::remove_file(self.work.join(path)).expect("the file is there");
        self.put(files, message)
    }

    fn put(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, content) in files {
            let path = self.work.join(path);
            fs::create_dir_all(path.parent().expect("it lies in the copy")).expect("the folder is ours");
            fs::write(path, content).expect("the folder is ours");
        }
        git(&self.work, &["add", "--all"]);
        git(&self.work, &["commit", "--quiet", "--message", message]);
        git(&self.work, &["push", "--quiet", "origin", BRANCH]);
        self.head()
    }
}

/// The newest commit of a branch, if it has one.
pub fn head(bare: &Path, branch: &str) -> Option<String> {
    let output = command(bare)
        .args(["rev-parse", "--quiet", "--verify", &format!("refs/heads/{branch}")])
        .output()
        .expect("git runs");
    let hash = String::from_utf8(output.stdout).expect("a hash is text");
    output.status.success().then(|| hash.trim_end().to_owned())
}

/// The files of a commit as tar.gz, without the header that `git archive` writes for commits: Flux refuses it.
pub fn archive(bare: &Path, commit: &str) -> Vec<u8> {
    let tree = format!("{commit}^{{tree}}");
    let output = command(bare).args(["archive", "--format=tar.gz", &tree]).output().expect("git runs");
    assert!(output.status.success(), "git archive: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn commit(entry: &str) -> Commit {
    let mut fields = entry.splitn(4, '\0').map(str::to_owned);
    let mut next = || fields.next().expect("the format has four fields");
    let (hash, author, at, message) = (next(), next(), next(), next());
    Commit { hash, author, at_secs: at.parse().expect("seconds"), message }
}

/// Runs Git in `folder` and answers what it printed.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder).args(arguments).output().expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("these repositories hold text")
}

/// Git that neither reads the settings of the machine nor asks anybody.
fn command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .envs([
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ])
        .envs([("GIT_AUTHOR_NAME", "human"), ("GIT_AUTHOR_EMAIL", "human@example.com")])
        .envs([("GIT_COMMITTER_NAME", "human"), ("GIT_COMMITTER_EMAIL", "human@example.com")]);
    command
}

// === The bridge: CGI (RFC 3875) as git-http-backend wants it ===

async fn answer(State(root): State<Arc<PathBuf>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX_BYTES).await else { return refusal("the body is too large") };
    let mut backend = command(&root);
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root.as_path())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ran = tokio::task::spawn_blocking(move || {
        let mut child = backend.spawn().expect("git runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        // It may answer before it has read all.
        let writer = thread::spawn(move || stdin.write_all(&body));
        let output = child.wait_with_output().expect("git ends");
        // What it does not want to read is its business.
        let _ = writer.join();
        output
    });
    let output = ran.await.expect("the thread ends");
    if output.stdout.is_empty() {
        return refusal(&String::from_utf8_lossy(&output.stderr));
    }
    reply(&output.stdout)
}

/// Headers, an empty line, the body; a header `Status` where it is not 200.
fn reply(output: &[u8]) -> Response {
    let end =
        output.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("headers end with an empty line");
    let headers = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut response = Response::builder();
    for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
        response = match name {
            "Status" => {
                response.status(value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500))
            }
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).expect("the headers are valid")
}

fn refusal(why: &str) -> Response {
    Response::builder()
        .status(StatusCode::INTERNAL_SERVER_ERROR)
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from(why.to_owned()))
        .expect("the headers are valid")
}
