//! The table of values in the chart's README, made from the comments of values.yaml. `make generate` writes it.

use std::fs;

use crate::cluster::chart::Chart;

/// Set by `make generate`: the page is written and not compared.
const GENERATE: &str = "TIDEGATE_GENERATE";
const BEGIN: &str = "<!-- values:begin -->\n";
const END: &str = "<!-- values:end -->";

/// A key that holds no other, or a comment about those below it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    path: String,
    default: String,
    words: String,
}

/// The rows of a file in block style, two spaces a level: what values.yaml keeps to.
fn rows(values: &str) -> Vec<Row> {
    let (mut rows, mut path, mut words) = (Vec::new(), Vec::<&str>::new(), Vec::new());
    for line in values.lines() {
        let text = line.trim_start();
        if let Some(comment) = text.strip_prefix("# ") {
            words.push(comment);
            continue;
        }
        // A list is a default in block style, and shown as one.
        let Some((key, default)) = text.split_once(':').filter(|_| !text.starts_with('-')) else {
            words.clear();
            continue;
        };
        path.truncate((line.len() - text.len()) / 2);
        path.push(key);
        rows.push(Row {
            path: path.join("."),
            default: default.trim().to_owned(),
            words: std::mem::take(&mut words).join(" "),
        });
    }
    rows.retain(|row| !(row.default.is_empty() && row.words.is_empty()));
    rows
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from("| value | default | what it does |\n|---|---|---|\n");
    for Row { path, default, words } in rows {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        table.push_str(&format!("| `{path}` | {default} | {} |\n", words.replace('|', "\\|")));
    }
    table
}

#[test]
fn the_readme_tells_of_the_values_as_they_are() {
    let folder = Chart::folder();
    let values = fs::read_to_string(folder.join("values.yaml")).unwrap();
    let page = fs::read_to_string(folder.join("README.md")).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{BEGIN}{}{END}{after}", table(&rows(&values)));
    if std::env::var_os(GENERATE).is_some() {
        fs::write(folder.join("README.md"), made).unwrap();
    } else {
        assert!(made == page, "charts/tidegate/README.md is stale; run: make generate");
    }
}

/// By a comment of its own, or of what it is part of.
#[test]
fn every_value_is_explained() {
    let values = fs::read_to_string(Chart::folder().join("values.yaml")).unwrap();
    let rows = rows(&values);
    let is_explained = |row: &&Row| {
        let explains = |known: &Row| {
            let below = row.path.strip_prefix(&known.path);
            !known.words.is_empty() && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        rows.iter().any(explains)
    };
    let silent: Vec<_> = rows.iter().filter(|row| !is_explained(row)).map(|row| &row.path).collect();
    assert!(silent.is_empty(), "values.yaml has no comment above {silent:?}");
}

#[test]
fn keys_below_keys_are_rows_with_their_whole_path() {
    let row = |path: &str, default: &str, words: &str| Row {
        path: path.to_owned(),
        default: default.to_owned(),
        words: words.to_owned(),
    };
    let text = "# One.\n# Two.\na: 1\n\n# Of b.\nb:\n  # Of c.\n  c:\n    # Deep.\n    d: []\n  e: \"\"\n";
    let expected = [
        row("a", "1", "One. Two."),
        row("b", "", "Of b."),
        row("b.c", "", "Of c."),
        row("b.c.d", "[]", "Deep."),
        row("b.e", "\"\"", ""),
    ];
    assert_eq!(rows(text), expected);
}
