//! Reference pages that are written by the source: `docs/reference/cli.md` from the command line's definition,
//! `docs/reference/releaseset.md` from the CRD. `make generate` writes them; without it they are compared.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use serde_json::Value;

use super::root;

/// Set by `make generate`.
const WRITE: &str = "TIDEGATE_GENERATE";

/// Compares the page with what it should be, or writes it.
fn hold(name: &str, text: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, text).expect("the page can be written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == text, "docs/reference/{name} is stale; run: make generate");
}

#[test]
fn the_page_of_the_command_line_is_what_the_binary_accepts() {
    let mut command = tidegate::cli::args::Cli::command();
    command.build();
    let mut page = String::from(
        "# Command line\n\n\
         <!-- Generated from the command line's definition by `make generate`. Do not edit. -->\n\n\
         One binary, `tidegate`. Named `kubectl-tidegate` on the PATH it is also `kubectl tidegate`. Data goes to standard\n\
         output, talk to standard error. `tidegate COMMAND --help` says the same as this page.\n\n\
         | command | what it does |\n|---|---|\n",
    );
    for command in leaves(&command) {
        let name = full_name(command);
        let anchor = name.replace(' ', "-");
        let _ = writeln!(
            page,
            "| [`{name}`](#{anchor}) | {} |",
            cell(&command.get_about().map(ToString::to_string).unwrap_or_default())
        );
    }
    page.push_str("\n## Options of every command\n\n");
    options(&mut page, command.get_arguments());
    page.push_str("\n## Exit codes\n\n```text\n");
    page.push_str(tidegate::cli::exit::HELP);
    page.push_str("\n```\n\nCommands with fewer codes name them below.\n");
    for command in leaves(&command) {
        describe(&mut page, command);
    }
    hold("cli.md", &page);
}

/// Commands that do something, in the order of `--help`.
fn leaves(command: &Command) -> Vec<&Command> {
    let below: Vec<&Command> = command.get_subcommands().collect();
    let mut found = Vec::new();
    for command in below {
        if command.has_subcommands() { found.extend(leaves(command)) } else { found.push(command) }
    }
    found
}

fn full_name(command: &Command) -> String {
    command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn describe(page: &mut String, command: &Command) {
    let about = command.get_long_about().or_else(|| command.get_about());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(
        page,
        "\n## {}\n\n{}.\n\n```text\n{usage}\n```\n\n",
        full_name(command),
        about.map(ToString::to_string).unwrap_or_default().trim_end_matches('.')
    );
    options(page, command.get_arguments().filter(|argument| !argument.is_global_set()));
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if let Some(codes) = after.strip_prefix("Exit codes: ") {
        let _ = writeln!(page, "\nExit codes: {codes}.");
    } else if after == tidegate::cli::exit::HELP {
        page.push_str("\nExit codes: [all](#exit-codes).\n");
    }
}

fn options<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let shown = |argument: &&Arg| !["help", "version"].contains(&argument.get_id().as_str());
    let arguments: Vec<&Arg> = arguments.filter(shown).collect();
    if arguments.is_empty() {
        page.push_str("No options of its own.\n");
        return;
    }
    page.push_str("| option | default | meaning |\n|---|---|---|\n");
    for argument in arguments {
        let value = argument.get_value_names().unwrap_or_default().join(" ");
        let takes_value = argument.get_action().takes_values();
        let mut names: Vec<String> = Vec::new();
        names.extend(argument.get_short().map(|short| format!("`-{short}`")));
        names.extend(
            argument
                .get_long()
                .map(|long| if takes_value { format!("`--{long} {value}`") } else { format!("`--{long}`") }),
        );
        if names.is_empty() {
            names.push(format!("`{value}`"));
        }
        let default: Vec<String> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let default = if takes_value && !default.is_empty() {
            format!("`{}`", default.join(" "))
        } else {
            String::new()
        };
        let mut meaning = argument
            .get_long_help()
            .or_else(|| argument.get_help())
            .map(ToString::to_string)
            .unwrap_or_default();
        let values: Vec<String> =
            argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        if takes_value && !values.is_empty() && !argument.is_hide_possible_values_set() {
            let _ = write!(meaning, ": {}", values.join(", "));
        }
        let required = if argument.is_required_set() { " (required)" } else { "" };
        let _ = writeln!(page, "| {}{required} | {default} | {} |", cell(&names.join(", ")), cell(&meaning));
    }
}

/// Text that fits into a cell of a table; `<` begins no element outside of code.
fn cell(text: &str) -> String {
    let words = text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ");
    let parts = words.split('`').enumerate();
    let parts =
        parts.map(|(index, part)| if index % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

/// JSON in a cell.
fn code(value: &Value) -> String {
    cell(&format!("`{value}`"))
}

#[test]
fn the_page_of_release_sets_is_what_the_schema_says() {
    let crd = serde_json::to_value(tidegate::api::crd::crd()).expect("the definition is JSON");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut page = String::from(
        "# ReleaseSet\n\n\
         <!-- Generated from the CRD by `make generate`. Do not edit. -->\n\n\
         `apiVersion: tidegate.dev/v1alpha1`, `kind: ReleaseSet`, namespaced, short name `rset`, category `tidegate`.\n\
         Whole sets to start from are in [examples](../../examples/). `tidegate lint` checks a file, `kubectl explain` shows the\n\
         same text as this page. `[]` marks the fields of a list's entries. An object's own fields follow it.\n\n## spec\n\n",
    );
    table(&mut page, &schema["properties"]["spec"], "spec");
    page.push_str("\n## status\n\nWritten by the controller alone.\n\n");
    table(&mut page, &schema["properties"]["status"], "status");
    hold("releaseset.md", &page);
}

fn table(page: &mut String, schema: &Value, path: &str) {
    page.push_str("| field | type | default | meaning | example |\n|---|---|---|---|---|\n");
    rows(page, schema, path, path.len());
    page.push_str("\nRules:\n\n");
    let mut rules = Vec::new();
    gather_rules(schema, path, &mut rules);
    for rule in rules {
        let _ = writeln!(page, "- {rule}");
    }
    if page.ends_with("Rules:\n\n") {
        page.truncate(page.len() - "\nRules:\n\n".len());
    }
}

fn rows(page: &mut String, schema: &Value, path: &str, skipped: usize) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let default = if required.contains(&name.as_str()) {
            "required".to_owned()
        } else {
            field.get("default").map(code).unwrap_or_default()
        };
        let example = field.get("example").map(code).unwrap_or_default();
        let meaning = cell(field["description"].as_str().unwrap_or_default());
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | {meaning} | {example} |",
            &path[skipped + 1..],
            kind(field)
        );
        rows(page, field, &path, skipped);
        rows(page, &field["items"], &format!("{path}[]"), skipped);
    }
}

fn kind(field: &Value) -> String {
    let text = |key: &str| field.get(key).map(ToString::to_string);
    let mut kind = match field["type"].as_str().unwrap_or_default() {
        "array" => format!("list of {}", field["items"]["type"].as_str().unwrap_or("object")),
        "object" if field.get("additionalProperties").is_some() => "map of string".to_owned(),
        other => other.to_owned(),
    };
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> =
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        kind = values.join(", ");
    }
    for (key, word) in [("maxItems", "at most"), ("maxProperties", "at most"), ("maxLength", "at most")] {
        if let Some(most) = text(key) {
            let unit = if key == "maxLength" { " characters" } else { "" };
            let _ = write!(kind, ", {word} {most}{unit}");
        }
    }
    kind
}

fn gather_rules(schema: &Value, path: &str, found: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let words = rule["message"].as_str().map_or_else(|| rule["rule"].to_string(), ToOwned::to_owned);
        found.push(format!("`{path}`: {}", cell(&words)));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        gather_rules(field, &format!("{path}.{name}"), found);
        gather_rules(&field["items"], &format!("{path}.{name}[]"), found);
    }
}
