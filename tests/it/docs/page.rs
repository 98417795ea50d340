//! A page of Markdown as a list of commands with what they print.

use std::collections::BTreeSet;
use std::path::Path;

/// Languages of blocks that hold commands and nothing else.
const COMMANDS: [&str; 3] = ["sh", "bash", "console"];

/// One command of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Line of the page, from 1.
    pub line: usize,
    /// As it is typed; several lines when it is continued or has a here-document.
    pub command: String,
    /// What the page shows below it, where it shows something.
    pub output: Option<String>,
    /// The exit code that it ends with.
    pub code: i32,
    /// A whole comment of the page, which readers do not see.
    pub hidden: bool,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// From the root of the repository.
    pub path: String,
    /// What the page needs to run.
    pub world: String,
    /// Its commands, in order.
    pub steps: Vec<Step>,
    text: String,
}

// === impl Page ===

impl Page {
    /// Reads the page at `path`, a file below `root`.
    pub fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("pages are UTF-8");
        let path = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        Self::parse(path, text)
    }

    fn parse(path: String, text: String) -> Self {
        let mut page = Self { path, world: "none".to_owned(), steps: Vec::new(), text: String::new() };
        let mut code = 0;
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let trimmed = line.trim();
            if let Some(world) = comment(trimmed, "world: ") {
                world.clone_into(&mut page.world);
            } else if let Some(exits) = comment(trimmed, "exits: ") {
                code = exits.parse().expect("an exit code");
            } else if trimmed == "<!-- run" {
                let block = take_until(&mut lines, |line| line.trim() == "-->");
                let command = block.join("\n");
                page.steps.push(Step { line: index + 2, command, output: None, code: 0, hidden: true });
            } else if let Some(kind) = trimmed.strip_prefix("```") {
                let indent = line.len() - line.trim_start().len();
                let block = take_until(&mut lines, |line| line.trim() == "```");
                let block: Vec<&str> =
                    block.iter().map(|line| line.get(indent..).unwrap_or_default()).collect();
                let mut steps = if block.first().is_some_and(|first| first.starts_with("$ ")) {
                    session(&block, index + 2)
                } else if COMMANDS.contains(&kind) {
                    commands(&block, index + 2)
                } else {
                    Vec::new()
                };
                if let Some(last) = steps.last_mut() {
                    last.code = std::mem::take(&mut code);
                }
                page.steps.extend(steps);
            }
        }
        page.text = text;
        page
    }

    /// The text outside of blocks and comments, with the number of each line.
    fn prose(&self) -> Vec<(usize, &str)> {
        let (mut prose, mut closing) = (Vec::new(), None);
        for (index, line) in self.text.lines().enumerate() {
            let trimmed = line.trim();
            match closing {
                Some(end) if trimmed == end => closing = None,
                Some(_) => {}
                None if trimmed.starts_with("```") => closing = Some("```"),
                None if trimmed == "<!-- run" => closing = Some("-->"),
                None => prose.push((index + 1, line)),
            }
        }
        prose
    }

    /// What stands between back-ticks in running text and begins like a command of ours, with its line.
    pub fn commands_in_text(&self) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        for (number, line) in self.prose() {
            let code = line.split('`').skip(1).step_by(2);
            found.extend(code.filter(|words| words.starts_with("tidegate ")).map(|words| (number, words)));
        }
        found
    }

    /// Where its links lead.
    pub fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        for (_, line) in self.prose() {
            links
                .extend(line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
        }
        links
    }

    /// Anchors of its headings, as GitHub makes them.
    pub fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose().into_iter().filter(|(_, line)| line.starts_with('#'));
        headings
            .map(|(_, line)| {
                let words = line.trim_start_matches('#').trim().to_lowercase();
                let kept = words.chars().filter(|letter| letter.is_alphanumeric() || "-_ ".contains(*letter));
                kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
            })
            .collect()
    }
}

fn comment<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    Some(line.strip_prefix("<!-- ")?.strip_prefix(key)?.strip_suffix("-->")?.trim())
}

fn take_until<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    is_end: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    lines.map(|(_, line)| line).take_while(|line| !is_end(line)).collect()
}

/// How the command that begins with `line` ends: a here-document, a continued line or a control structure take more lines.
fn is_open(command: &str) -> bool {
    if let Some((_, rest)) = command.split_once("<<") {
        let word: String =
            rest.trim_start_matches('-').chars().take_while(|letter| !letter.is_whitespace()).collect();
        let word = word.trim_matches(['\'', '"']);
        return !command.lines().skip(1).any(|line| line.trim() == word);
    }
    let quotes = command.matches('\'').count();
    command.ends_with('\\') || quotes % 2 == 1
}

fn commands(block: &[&str], first_line: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open = false;
    for (index, line) in block.iter().enumerate() {
        if open {
            let step = steps.last_mut().expect("something was opened");
            step.command.push('\n');
            step.command.push_str(line);
            open = is_open(&step.command);
        } else if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            let command = (*line).to_owned();
            open = is_open(&command);
            steps.push(Step { line: first_line + index, command, output: None, code: 0, hidden: false });
        }
    }
    for step in &mut steps {
        step.command = without_comment(&step.command).to_owned();
    }
    steps
}

/// A remark at the end of the line is no part of the command.
fn without_comment(command: &str) -> &str {
    if command.contains('\n') { command } else { command.split(" # ").next().unwrap_or_default().trim_end() }
}

fn session(block: &[&str], first_line: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in block.iter().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            let command = without_comment(command).to_owned();
            steps.push(Step {
                line: first_line + index,
                command,
                output: Some(String::new()),
                code: 0,
                hidden: false,
            });
        } else if let Some(output) = steps.last_mut().and_then(|step| step.output.as_mut()) {
            output.push_str(line);
            output.push('\n');
        }
    }
    steps
}

#[test]
fn commands_and_outputs_are_told_apart() {
    let text = "<!-- world: cluster -->\n# A page: `x`\n\n```sh\n# why\na 'b\nc' # d\ne <<'END'\nf\nEND\n```\n<!-- exits: 3 -->\n\
                ```text\n$ g | h\nout\n$ i\n```\n<!-- run\nj \\\n  k\n-->\n```text\nno command\n```\nSay `tidegate pin x`.\n";
    let page = Page::parse("p.md".to_owned(), text.to_owned());
    let said: Vec<(&str, Option<&str>, i32, bool, usize)> = page
        .steps
        .iter()
        .map(|step| (step.command.as_str(), step.output.as_deref(), step.code, step.hidden, step.line))
        .collect();
    assert_eq!(
        said,
        [
            ("a 'b\nc' # d", None, 0, false, 6),
            ("e <<'END'\nf\nEND", None, 0, false, 8),
            ("g | h", Some("out\n"), 0, false, 14),
            ("i", Some(""), 3, false, 16),
            ("j \\\n  k", None, 0, true, 19),
        ]
    );
    assert_eq!(page.world, "cluster");
    assert!(page.anchors().contains("a-page-x"));
    assert_eq!(page.commands_in_text(), [(25, "tidegate pin x")]);
}
