//! Puts a report into the format that was asked for. Pure: text out, printed elsewhere.
//!
//! Every mark is a word, so that nothing is lost without colour: `present`, `missing`, `broken`, `unknown`, in
//! parentheses where advisory, `-` where nothing was asked.

use crate::cli::args::ReportFormat;
use crate::cli::contract::{Cell, Gate, Image, Report};
use crate::cli::error::{CliError, Result};
use crate::cli::exit::Verdict;
use crate::cli::printer::{Palette, Tone};

/// Space between two columns, as in kubectl.
const GAP: &str = "   ";
/// Begins the line that says what to do about the one above.
const NEXT: &str = "  next: ";
/// Hexadecimal digits of a digest that a person compares.
const DIGEST_DIGITS: usize = 12;

/// One place of a table.
pub(in crate::cli) struct Mark {
    pub text: String,
    pub tone: Tone,
}

/// The report as text that ends with a newline.
///
/// # Errors
/// When a serialiser fails.
pub fn report(report: &Report, format: ReportFormat, palette: Palette) -> Result<String> {
    match format {
        ReportFormat::Table => Ok(table(report, palette)),
        ReportFormat::Markdown => Ok(markdown(report)),
        ReportFormat::Json => serde_json::to_string_pretty(report)
            .map(|json| json + "\n")
            .map_err(|error| CliError::new("failed to write JSON").caused_by(&error)),
        ReportFormat::Yaml => serde_saphyr::to_string(report)
            .map_err(|error| CliError::new("failed to write YAML").caused_by(&error)),
    }
}

fn table(report: &Report, palette: Palette) -> String {
    let mut text = format!("{}\n", palette.paint(Tone::Strong, &title(report)));
    let mut blocks = Vec::new();
    if !report.images.is_empty() {
        blocks.push(matrix(report));
    }
    if !report.gates.is_empty() {
        blocks.push(gates(&report.gates));
    }
    let mut texts: Vec<String> = blocks.iter().map(|rows| aligned(rows, palette)).collect();
    let reasons = reasons(report);
    if !reasons.is_empty() {
        // Below the matrix, which they explain.
        texts.insert(1.min(texts.len()), reasons.join("\n") + "\n");
    }
    texts.push(format!("{}\n", verdict_line(report, palette)));
    for block in texts {
        text.push('\n');
        text.push_str(&block);
    }
    text
}

fn title(report: &Report) -> String {
    match &report.tag {
        Some(tag) => format!("{} {tag}", report.release_set),
        None => report.release_set.clone(),
    }
}

/// Platforms of all images, in the order in which they are first named.
fn platforms(report: &Report) -> Vec<&str> {
    let mut platforms: Vec<&str> = Vec::new();
    for cell in report.images.iter().flat_map(|image| &image.cells) {
        if !platforms.contains(&cell.platform.as_str()) {
            platforms.push(&cell.platform);
        }
    }
    platforms
}

/// True when some image's own tag is not the shared one, so that it is worth a column.
fn has_own_tags(report: &Report) -> bool {
    report.images.iter().any(|image| image.tag != report.tag)
}

fn matrix(report: &Report) -> Vec<Vec<Mark>> {
    let platforms = platforms(report);
    let own_tags = has_own_tags(report);
    let mut header = vec![Mark::heading("IMAGE")];
    header.extend(platforms.iter().map(|platform| Mark::heading(platform)));
    header.extend(own_tags.then(|| Mark::heading("TAG")));
    header.push(Mark::heading("DIGEST"));
    let mut rows = vec![header];
    for image in &report.images {
        let mut row = vec![Mark::plain(&image.name)];
        row.extend(platforms.iter().map(|platform| Mark::of(cell_of(image, platform))));
        row.extend(own_tags.then(|| Mark::plain(image.tag.as_deref().unwrap_or("-"))));
        row.push(Mark { text: short(image.digest.as_deref()), tone: Tone::Faint });
        rows.push(row);
    }
    rows
}

fn cell_of<'a>(image: &'a Image, platform: &str) -> Option<&'a Cell> {
    image.cells.iter().find(|cell| cell.platform == platform)
}

fn short(digest: Option<&str>) -> String {
    let hex = digest.and_then(|digest| digest.split_once(':')).map(|(_, hex)| hex);
    hex.map_or_else(|| "-".to_owned(), |hex| hex.chars().take(DIGEST_DIGITS).collect())
}

fn gates(gates: &[Gate]) -> Vec<Vec<Mark>> {
    let mut rows = vec![vec![Mark::heading("GATE"), Mark::heading("STATE"), Mark::heading("MESSAGE")]];
    for gate in gates {
        let tone = match gate.state {
            "Passed" => Tone::Good,
            "Failed" => Tone::Bad,
            _ => Tone::Doubtful,
        };
        let state = Mark { text: gate.state.to_owned(), tone };
        rows.push(vec![Mark::plain(&gate.name), state, Mark::plain(&one_line(&gate.message))]);
    }
    rows
}

/// Why cells are broken or unknown, one line for each image and reason.
fn reasons(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for image in &report.images {
        let mut told: Vec<&str> = Vec::new();
        for reason in image.cells.iter().filter_map(|cell| cell.reason.as_deref()) {
            if told.contains(&reason) {
                continue;
            }
            told.push(reason);
            let same = || image.cells.iter().filter(|cell| cell.reason.as_deref() == Some(reason));
            let platforms: Vec<&str> = same().map(|cell| cell.platform.as_str()).collect();
            let word = same().next().map_or("Unknown", |cell| cell.state).to_ascii_lowercase();
            lines.push(format!("{} {} {word}: {}", image.name, platforms.join(", "), one_line(reason)));
            let next = same().find_map(|cell| cell.next.as_deref());
            lines.extend(next.map(|next| format!("{NEXT}{}", one_line(next))));
        }
    }
    lines
}

fn verdict_line(report: &Report, palette: Palette) -> String {
    let tone = match report.verdict {
        Verdict::Promote => Tone::Good,
        Verdict::Failed => Tone::Bad,
        Verdict::Wait | Verdict::Held | Verdict::Superseded => Tone::Doubtful,
    };
    format!("{}: {}", palette.paint(tone, report.verdict.word()), summary(report))
}

/// Why the verdict is what it is, in one line. A reason that stands below the matrix or beside its gate is not
/// said twice.
fn summary(report: &Report) -> String {
    let cells = || report.images.iter().flat_map(|image| &image.cells);
    let Some(blocked_by) = &report.blocked_by else {
        return match cells().filter(|cell| cell.required).count() {
            1 => "the required cell is present".to_owned(),
            count => format!("all {count} required cells are present"),
        };
    };
    let gate = report.gates.iter().find(|gate| *blocked_by == format!("gate {} {}", gate.name, gate.message));
    if let Some(gate) = gate {
        return format!("gate {} {}", gate.name, gate.state.to_ascii_lowercase());
    }
    let mut reasons = cells().filter_map(|cell| cell.reason.as_deref());
    let short = reasons.find_map(|reason| blocked_by.strip_suffix(reason)?.strip_suffix(": "));
    one_line(short.unwrap_or(blocked_by))
}

/// Rows as columns that stand below each other; the first row is the heading.
pub(in crate::cli) fn aligned(rows: &[Vec<Mark>], palette: Palette) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let texts = rows.iter().filter_map(|row| row.get(column));
        texts.map(|mark| mark.text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, mark) in row.iter().enumerate() {
            text.push_str(&palette.paint(mark.tone, &mark.text));
            if column + 1 < row.len() {
                let missing = widths.get(column).map_or(0, |width| width - mark.text.chars().count());
                text.push_str(&" ".repeat(missing));
                text.push_str(GAP);
            }
        }
        text.push('\n');
    }
    text
}

fn markdown(report: &Report) -> String {
    let tag = report.tag.as_ref().map(|tag| format!(" `{tag}`")).unwrap_or_default();
    let title = format!("### {}{tag}\n", escaped(&report.release_set));
    let verdict = format!("**{}**: {}\n", report.verdict.word(), escaped(&summary(report)));
    let mut blocks = vec![title, verdict];
    if !report.images.is_empty() {
        blocks.push(piped(&matrix(report)));
    }
    if !report.gates.is_empty() {
        blocks.push(piped(&gates(&report.gates)));
    }
    let item = |line: &String| match line.strip_prefix(NEXT) {
        Some(next) => format!("  - next: {}\n", escaped(next)),
        None => format!("- {}\n", escaped(line)),
    };
    let reasons: Vec<String> = reasons(report).iter().map(item).collect();
    if !reasons.is_empty() {
        blocks.push(reasons.concat());
    }
    blocks.join("\n")
}

/// A table as GitHub and GitLab read it; the first row is the heading.
fn piped(rows: &[Vec<Mark>]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for row in rows {
        let cells: Vec<String> = row.iter().map(|mark| escaped(&mark.text)).collect();
        lines.push(format!("| {} |\n", cells.join(" | ")));
        if lines.len() == 1 {
            lines.push(format!("|{}\n", " --- |".repeat(row.len())));
        }
    }
    lines.concat()
}

/// A text of another's making on one line: a registry's words must not move the cursor or break a table.
pub(in crate::cli) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        if "\\|<*_[".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

// === impl Mark ===

impl Mark {
    pub fn heading(text: &str) -> Self {
        Self { text: text.to_owned(), tone: Tone::Faint }
    }

    pub fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), tone: Tone::Plain }
    }

    fn of(cell: Option<&Cell>) -> Self {
        let Some(cell) = cell else { return Self { text: "-".to_owned(), tone: Tone::Faint } };
        let word = cell.state.to_ascii_lowercase();
        let tone = match cell.state {
            "Present" => Tone::Good,
            _ if !cell.required => Tone::Faint,
            "Unknown" => Tone::Doubtful,
            _ => Tone::Bad,
        };
        Self { text: if cell.required { word } else { format!("({word})") }, tone }
    }
}
