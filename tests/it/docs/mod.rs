//! What the pages say is what the program does: every command of a page is run, every output that a page shows is compared, and
//! what is generated is not stale.
//!
//! A page steers its run by comments that no reader sees:
//!
//! ```text
//! <!-- world: cluster -->   at the top: `none` (an empty folder, the default), `cluster` (a real API server with the CRD, and a
//!                           real registry at $REGISTRY), `own cluster` (the same without the CRD, for this page alone) or `node`
//!                           (a real cluster with one node)
//! <!-- run                  commands between those of the page, such as what CI or a controller does meanwhile
//! push acme/app:main-1
//! -->
//! <!-- exits: 3 -->         the last command of the next block ends with 3; without it each command ends with 0
//! ```
//!
//! A command that cannot run here stands in [`elsewhere::ELSEWHERE`] with the reason. A new command in a page is run, or fails.

mod elsewhere;
mod page;
mod reference;
mod session;
mod words;
mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use elsewhere::ELSEWHERE;
use page::Page;

/// Files and folders whose commands are run.
const PLACES: [&str; 4] = ["README.md", "CONTRIBUTING.md", "docs", "charts"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown_below(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("the folder can be listed");
        for entry in entries {
            markdown_below(&entry.expect("it can be listed").path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "md") {
        found.push(path.to_owned());
    }
}

/// Files of the pages, in order.
pub fn paths() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for place in PLACES {
        let path = root().join(place);
        if path.exists() {
            markdown_below(&path, &mut paths);
        }
    }
    paths.sort();
    paths
}

/// Every page, in the order of its path.
fn pages() -> Vec<Page> {
    paths().iter().map(|path| Page::read(root(), path)).collect()
}

/// Runs the pages of one kind of world, one after the other.
async fn run(world: &str) {
    let pages = pages();
    let only = std::env::var_os("TIDEGATE_PAGE").map(|only| only.to_string_lossy().into_owned());
    let wanted = |page: &&Page| only.as_ref().is_none_or(|only| page.path.contains(only));
    let mut failures = Vec::new();
    for page in pages.iter().filter(|page| page.world == world).filter(wanted) {
        if let Err(failure) = world::run(page).await {
            failures.push(format!("{}: {failure}", page.path));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_pages_that_need_no_cluster() {
    run("none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_pages_that_need_a_cluster() {
    run("cluster").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_pages_that_need_a_cluster_of_their_own() {
    run("own cluster").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_pages_that_need_a_node() {
    run("node").await;
}

#[test]
fn every_page_names_a_world_that_there_is() {
    for page in pages() {
        assert!(["none", "cluster", "own cluster", "node"].contains(&page.world.as_str()), "{}", page.path);
    }
}

#[test]
fn the_list_of_commands_that_are_not_run_here_is_not_stale() {
    let pages = pages();
    let shown: BTreeSet<&str> =
        pages.iter().flat_map(|page| page.steps.iter()).map(|step| step.command.as_str()).collect();
    for (command, why) in ELSEWHERE {
        assert!(shown.contains(command), "no page shows `{command}` any more: take it off the list");
        assert!(why.len() > 10, "`{command}` needs a reason");
    }
    assert!(shown.len() >= 20, "only {} commands were found", shown.len());
}

/// Commands in running text are not run; that they exist is checked.
#[test]
fn commands_named_in_text_exist() {
    use clap::CommandFactory as _;
    let command = tidegate::cli::args::Cli::command();
    let known: BTreeSet<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    for page in pages() {
        for (line, words) in page.commands_in_text() {
            let Some(named) = words.strip_prefix("tidegate ").and_then(|rest| rest.split_whitespace().next())
            else {
                continue;
            };
            for name in named.split('|').filter(|name| name.chars().all(|letter| letter.is_ascii_lowercase()))
            {
                assert!(known.contains(name), "{}:{line}: `{words}` names no command of ours", page.path);
            }
        }
    }
}

/// Files and headings that pages link to.
#[test]
fn links_between_pages_lead_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    for page in &pages {
        for link in page.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let own = root().join(&page.path);
            let target =
                if file.is_empty() { own } else { own.parent().expect("a page lies in a folder").join(file) };
            let Ok(target) = target.canonicalize() else {
                wrong.push(format!("{}: {link} is not there", page.path));
                continue;
            };
            if anchor.is_empty() || target.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            if !Page::read(root(), &target).anchors().contains(anchor) {
                wrong.push(format!("{}: {link}: no such heading", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A page that nobody finds is not read.
#[test]
fn the_index_names_every_page() {
    let index = Page::read(root(), &root().join("docs/README.md"));
    let linked: BTreeSet<PathBuf> = index
        .links()
        .iter()
        .filter_map(|link| root().join("docs").join(link.split('#').next()?).canonicalize().ok())
        .collect();
    for page in pages() {
        let is_listed = page.path.starts_with("docs/")
            && !page.path.starts_with("docs/adr/")
            && page.path != "docs/README.md";
        let path = root().join(&page.path).canonicalize().expect("it was read");
        assert!(!is_listed || linked.contains(&path), "docs/README.md does not link to {}", page.path);
    }
}
