//! The page of measured numbers, docs/reference/performance.md: each command writes between its own two marks.

use std::io::Write as _;

use tidegate::telemetry::clock::Clock;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/performance.md");

/// On what the numbers of `make <command>` came about, as a sentence; `more` is said of the command at its end.
pub fn machine(command: &str, more: &str) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "Measured on {} by `make {command}`: {}, {} cores shared by everything, Linux {}, {} profile{more}.\n",
        Clock::system().now().strftime("%Y-%m-%d"),
        name.map_or("unknown processor", |(_, name)| name),
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        kernel.trim(),
        if cfg!(debug_assertions) { "dev" } else { "release" },
    )
}

/// Puts the numbers of `command` into the page, and on standard error past the capture of the test runner.
pub fn write(command: &str, numbers: &str) {
    let (begin, end) = (format!("<!-- {command}:begin -->\n"), format!("<!-- {command}:end -->"));
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    let (before, rest) = page.split_once(&begin).expect("the page has the mark that begins the numbers");
    let (_, after) = rest.split_once(&end).expect("the page has the mark that ends the numbers");
    std::fs::write(PAGE, format!("{before}{begin}{numbers}{end}{after}")).expect("the page can be written");
    let _ = writeln!(std::io::stderr(), "{numbers}");
}
