//! A shell in which the commands of a page are typed, one after the other.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use regex::Regex;

use super::page::{Page, Step};

/// Longest time that a page may take: the longest waits for a few releases on a node, 30 s each.
const DEADLINE: Duration = Duration::from_mins(5);

/// Between two looks whether the shell ended.
const PACE: Duration = Duration::from_millis(50);

/// Types the commands `1.sh`, `2.sh` … of the folder `$STEPS` in one shell and keeps `N.out`, `N.err` and `N.code`. Standard
/// input is held open by the test: a controller that a page starts ends with it.
const SHELL: &str = r#"
set -o pipefail
exec 3<&0 </dev/null
end() { [[ -z ${controller-} ]] || kill -KILL "$controller" 2>/dev/null; [[ -z ${watcher-} ]] || kill -KILL "$watcher" 2>/dev/null; }
trap end EXIT
# A page shows it in a terminal of its own.
start_controller() {
  local arguments=() skip=
  for argument in "$@"; do
    if [[ -n $skip ]]; then skip=; elif [[ $argument == --http-addr ]]; then skip=1; else arguments+=("$argument"); fi
  done
  command tidegate controller "${arguments[@]}" --http-addr "127.0.0.1:$CONTROLLER_PORT" >"$STEPS/controller.log" 2>&1 3<&- &
  controller=$!
  { read -r _ <&3 || true; kill -KILL "$controller"; } 2>/dev/null &
  watcher=$!
  for ((try = 0; try < 600; try++)); do
    kill -0 "$controller" || return 1
    ! curl --silent --fail --noproxy '*' -o /dev/null "http://127.0.0.1:$CONTROLLER_PORT/readyz" || return 0
    sleep 0.05
  done
  return 1
}
tidegate() {
  case ${1-} in
    # A person is asked; here nobody is.
    suspend | resume | pin | unpin | skip | retry) command tidegate "$@" --yes ;;
    controller) start_controller "${@:2}" ;;
    *) command tidegate "$@" ;;
  esac
}
cargo() {
  [[ $1 == run && $2 == -- ]] || { echo "the suite runs no cargo but: cargo run -- …" >&2; return 1; }
  tidegate "${@:3}"
}
# The world started the cluster.
make() { [[ $* == cluster-up && -n ${TIDEGATE_CLUSTER-} ]] || { echo "the suite runs no make here" >&2; return 1; }; }
for ((step = 1; step <= COUNT; step++)); do
  source "$STEPS/$step.sh" >"$STEPS/$step.out" 2>"$STEPS/$step.err"
  code=$?
  echo "$code" >"$STEPS/$step.code"
  [[ $code == $(<"$STEPS/$step.wanted") ]] || exit 1
done
"#;

/// Where and with what a page is run.
#[derive(Debug)]
pub struct Setting {
    /// The working folder, which a page may write to unless it is the repository.
    pub folder: PathBuf,
    /// First on the PATH.
    pub programs: PathBuf,
    /// Port of a controller that the page starts.
    pub controller_port: u16,
    /// What else the environment holds.
    pub environment: Vec<(&'static str, String)>,
    /// What is printed here, and what pages say instead.
    pub renamed: Vec<(String, String)>,
}

/// Runs `steps` of the page; the error says which command did what.
pub async fn run(page: &Page, steps: &[&Step], setting: &Setting) -> Result<(), String> {
    let files = setting.programs.join("steps");
    let _ = std::fs::remove_dir_all(&files);
    std::fs::create_dir_all(&files).expect("the folder is ours");
    for (index, step) in steps.iter().enumerate() {
        let write = |kind: &str, text: String| {
            std::fs::write(files.join(format!("{}.{kind}", index + 1)), text).expect("the folder is ours");
        };
        // Of the commands that readers do not see each counts, as each of the others does.
        let (begin, end) = if step.hidden { ("set -e\n", "set +e\n") } else { ("", "") };
        write("sh", format!("{begin}{}\n{end}", step.command));
        write("wanted", format!("{}\n", step.code));
    }
    let path =
        format!("{}:{}", setting.programs.display(), std::env::var_os("PATH").unwrap_or_default().display());
    let mut shell = Command::new("bash");
    shell
        .args(["-c", SHELL])
        .current_dir(&setting.folder)
        .env("PATH", path)
        .env("HOME", &setting.programs)
        .env("STEPS", &files)
        .env("COUNT", steps.len().to_string())
        .env("CONTROLLER_PORT", setting.controller_port.to_string())
        .env("NO_COLOR", "1")
        .envs(setting.environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for name in ["KUBECONFIG", "DOCKER_CONFIG", "TIDEGATE_CLUSTER"] {
        if !setting.environment.iter().any(|(known, _)| *known == name) {
            shell.env_remove(name);
        }
    }
    let mut child = shell.spawn().expect("bash runs");
    // Held open until the shell ends: what it started ends with us.
    let stdin = child.stdin.take();
    let ended = tokio::time::timeout(DEADLINE, async {
        while child.try_wait().expect("it is our child").is_none() {
            tokio::time::sleep(PACE).await;
        }
    });
    let ended = ended.await;
    drop(stdin);
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let log = std::fs::read_to_string(files.join("controller.log")).unwrap_or_default();
    for (index, step) in steps.iter().enumerate() {
        judge(page, step, &files, index + 1, setting).map_err(|why| format!("{why}{}", tail(&log)))?;
    }
    ended.map_err(|_| format!("took longer than {DEADLINE:?}"))
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("\nthe controller:\n{}", lines[lines.len().saturating_sub(8)..].join("\n"))
    }
}

fn judge(page: &Page, step: &Step, files: &Path, number: usize, setting: &Setting) -> Result<(), String> {
    let read = |kind: &str| std::fs::read_to_string(files.join(format!("{number}.{kind}")));
    let place = format!("line {}: `{}`", step.line, step.command);
    let (out, err) = (read("out").unwrap_or_default(), read("err").unwrap_or_default());
    let Ok(code) = read("code") else { return Err(format!("{place} did not end\n{out}{err}")) };
    if code.trim() != step.code.to_string() {
        return Err(format!("{place} ended with {}, not {}\n{out}{err}", code.trim(), step.code));
    }
    let Some(shown) = step.output.as_deref().filter(|shown| !shown.trim().is_empty()) else { return Ok(()) };
    let (shown, printed) = (normal(shown, setting), normal(&out, setting));
    if fits(&shown, &printed) {
        return Ok(());
    }
    Err(format!(
        "{place}\n--- {} shows\n{}\n--- printed\n{}\n--- said\n{err}",
        page.path,
        shown.join("\n"),
        printed.join("\n")
    ))
}

/// Lines without what differs from run to run: ages, hosts, and the width of columns.
fn normal(text: &str, setting: &Setting) -> Vec<String> {
    let age = Regex::new(r"\b([0-9]+[dhms])+\b").expect("the pattern is valid");
    let mut text = text.to_owned();
    for (here, there) in &setting.renamed {
        text = text.replace(here, there);
    }
    let lines = text
        .lines()
        .map(|line| age.replace_all(line, "AGE").split_whitespace().collect::<Vec<_>>().join(" "));
    let mut lines: Vec<String> = lines.collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// A line `…` stands for any number of lines, and `…` within a line for any text.
fn fits(shown: &[String], printed: &[String]) -> bool {
    match (shown.first(), printed.first()) {
        (None, None) => true,
        (Some(line), _) if line == "…" => {
            fits(&shown[1..], printed) || (!printed.is_empty() && fits(shown, &printed[1..]))
        }
        (Some(line), Some(other)) => line_fits(line, other) && fits(&shown[1..], &printed[1..]),
        _ => false,
    }
}

fn line_fits(shown: &str, printed: &str) -> bool {
    if !shown.contains('…') {
        return shown == printed;
    }
    let pattern: Vec<String> = shown.split('…').map(regex::escape).collect();
    Regex::new(&format!("^{}$", pattern.join(".*"))).expect("the pattern is valid").is_match(printed)
}

#[test]
fn an_ellipsis_stands_for_what_differs() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(fits(&lines("a\n…\nd …!"), &lines("a\nb\nc\nd e!")));
    assert!(!fits(&lines("a\n…\nd"), &lines("a\nb\nc")));
    assert!(!fits(&lines("a"), &lines("a\nb")) && !fits(&lines("a\nb"), &lines("a")));
}
