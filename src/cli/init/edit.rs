//! Changes of files as text: what is not changed stays byte for byte. Pure.

use std::collections::BTreeMap;

use similar::TextDiff;

use crate::cli::init::gather::Source;

/// Lines around a change, as `diff -u` has them.
const CONTEXT_LINES: usize = 3;

/// One change of one text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edit {
    /// Which text.
    pub source: usize,
    /// First byte that goes.
    pub start: usize,
    /// First byte that stays again.
    pub end: usize,
    /// What comes instead.
    pub text: String,
}

/// The text with its changes. Of two that overlap the first is made.
pub fn apply(text: &str, edits: &[&Edit]) -> String {
    let mut sorted: Vec<&&Edit> = edits.iter().collect();
    sorted.sort();
    let (mut changed, mut at) = (String::with_capacity(text.len()), 0);
    for edit in sorted {
        let (Some(before), true) = (text.get(at..edit.start), edit.end <= text.len()) else { continue };
        changed.push_str(before);
        changed.push_str(&edit.text);
        at = edit.end;
    }
    changed.push_str(text.get(at..).unwrap_or_default());
    changed
}

/// All changes as one unified diff, in the order of the files; empty when nothing changes.
pub fn diff(sources: &[Source], edits: &[Edit]) -> String {
    let mut by_source: BTreeMap<usize, Vec<&Edit>> = BTreeMap::new();
    for edit in edits {
        by_source.entry(edit.source).or_default().push(edit);
    }
    let mut text = String::new();
    for (number, edits) in by_source {
        let Some(source) = sources.get(number) else { continue };
        let changed = apply(&source.text, &edits);
        let diff = TextDiff::from_lines(source.text.as_str(), changed.as_str());
        let mut unified = diff.unified_diff();
        unified.context_radius(CONTEXT_LINES);
        unified.header(&format!("a/{}", source.name), &format!("b/{}", source.name));
        text.push_str(&unified.to_string());
    }
    text
}

/// Where the line of byte `at` ends, its end-of-line left out.
pub fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.find('\n').map_or(rest.len(), |end| rest[..end].trim_end_matches('\r').len())
}

/// The entry of a list that holds byte `at`, once more below itself as the lines `entry`, indented as it is.
pub fn entry_below(text: &str, source: usize, at: usize, entry: &[&str]) -> Option<Edit> {
    let begins = |at: usize| text.get(..at).map(|before| before.rfind('\n').map_or(0, |end| end + 1));
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let mut line_at = begins(at)?;
    let dash = loop {
        let line = &text[line_at..line_end(text, line_at)];
        if line.trim_start().starts_with("- ") {
            break indent(line);
        }
        line_at = begins(line_at.checked_sub(1)?)?;
    };
    let mut end = line_end(text, at);
    while let Some(next) = text.get(end..).and_then(|rest| rest.find('\n')).map(|newline| end + newline + 1) {
        let line = &text[next..line_end(text, next)];
        if line.trim().is_empty() || indent(line) <= dash {
            break;
        }
        end = line_end(text, next);
    }
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let lines = entry.iter().enumerate().map(|(number, line)| {
        let mark = if number == 0 { "- " } else { "  " };
        format!("{newline}{}{mark}{line}", " ".repeat(dash))
    });
    Some(Edit { source, start: end, end, text: lines.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays_byte_for_byte() {
        let source =
            Source { name: "a/b.yaml".into(), text: "a: 1 # x\r\nb:   2\r\nc: 3".into(), is_file: true };
        let edit = Edit { source: 0, start: 7, end: 8, text: "y".into() };
        assert_eq!(apply(&source.text, &[&edit]), "a: 1 # y\r\nb:   2\r\nc: 3");
        let diff = diff(&[source], &[edit]);
        assert!(
            diff.starts_with("--- a/a/b.yaml\n+++ b/a/b.yaml\n@@ -1,3 +1,3 @@\n-a: 1 # x\r\n+a: 1 # y\r\n"),
            "{diff:?}"
        );
        assert!(diff.contains("No newline at end of file"), "{diff}");
    }

    #[test]
    fn an_entry_goes_below_the_whole_of_its_neighbour() {
        let text = "from:\n  - kind: ConfigMap\n    name: a\n    optional: true\nnext: 1\n";
        let at = text.find("name: a").unwrap() + 6;
        let edit = entry_below(text, 0, at, &["kind: ConfigMap", "name: b"]).unwrap();
        let changed = apply(text, &[&edit]);
        assert_eq!(
            changed,
            "from:\n  - kind: ConfigMap\n    name: a\n    optional: true\n  - kind: ConfigMap\n    name: b\nnext: 1\n"
        );
    }
}
