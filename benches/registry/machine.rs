//! On what, when and with which versions the numbers came about.

use std::path::Path;
use std::process::Command;

use tidegate::telemetry::clock::Clock;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// `name version` of everything that was measured.
pub fn versions(docker_registry: &Path) -> Vec<String> {
    vec![
        format!(
            "tidegate {} ({})",
            env!("CARGO_PKG_VERSION"),
            first_line("git", &["describe", "--always", "--dirty"])
        ),
        first_line(&docker_registry.to_string_lossy(), &["--version"])
            .replace("github.com/docker/distribution ", ""),
        format!("crane {}", pinned("ggcr", "github.com/google/go-containerregistry ")),
        format!("regctl {}", pinned("regclient", "github.com/regclient/regclient ")),
        first_line("skopeo", &["--version"]).replace("version ", ""),
        first_line("rustc", &["--version"]).split(" (").next().unwrap_or_default().to_owned(),
    ]
}

/// A paragraph about the run.
pub fn block(versions: &[String]) -> String {
    let date = Clock::system().now().strftime("%Y-%m-%d").to_string();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let profile =
        if cfg!(debug_assertions) { "dev profile" } else { "profile of the shipped binary (release)" };
    format!(
        "Measured on {date} by `make bench-registry`: {}, {cores} cores, {} GiB memory, Linux {}; everything on loopback \
         of one machine, {profile}.\nVersions: {}.\n",
        processor(),
        memory_gib(),
        kernel.trim(),
        versions.join(", ")
    )
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown processor", |(_, name)| name).to_owned()
}

fn memory_gib() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0).div_ceil(1024 * 1024)
}

/// The first line that a program prints; a dash when it is not there.
fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(ROOT).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    match text.lines().next() {
        // Programs name themselves by the path they were called by.
        Some(line) => line.replace(program, &name),
        None => format!("{name} -"),
    }
}

/// The version of a module that a tool's go.mod pins.
fn pinned(folder: &str, module: &str) -> String {
    let file = format!("{ROOT}/tests/tools/{folder}/go.mod");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("require ").unwrap_or(line.trim()).strip_prefix(module));
    line.and_then(|rest| rest.split(' ').next()).unwrap_or("-").to_owned()
}
