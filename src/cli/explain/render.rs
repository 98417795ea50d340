//! An explanation for a person. Pure: text out, printed elsewhere.

use jiff::SignedDuration;

use crate::api::duration;
use crate::cli::explain::contract::{Candidate, Cell, Explanation, Gate, Image};
use crate::cli::printer::{Palette, Tone};
use crate::cli::render::{Mark, aligned, one_line};

/// The explanation as text that ends with a newline.
pub fn table(explanation: &Explanation, palette: Palette) -> String {
    let mut blocks = vec![head(explanation, palette)];
    for (index, candidate) in explanation.candidates.iter().enumerate() {
        blocks.push(candidate_head(candidate, palette));
        if !candidate.images.is_empty() {
            blocks.push(aligned(&matrix(candidate), palette) + &reasons(candidate));
        }
        if !candidate.gates.is_empty() {
            blocks.push(aligned(&gates(candidate), palette));
        }
        if index == 0 {
            blocks.extend(logs(candidate));
        }
    }
    if !explanation.targets.is_empty() {
        blocks.push(aligned(&targets(explanation), palette));
    }
    blocks.push(foot(explanation, palette));
    blocks.join("\n")
}

/// A span as people say it: `45s`, `12m`, `3h`, `5d`.
pub fn span(secs: i64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..600 => duration::Text(SignedDuration::from_secs(secs)).to_string(),
        600..3_600 => format!("{}m", secs / 60),
        3_600..172_800 => duration::Text(SignedDuration::from_secs(secs / 60 * 60)).to_string(),
        _ => format!("{}d", secs / 86_400),
    }
}

fn head(explanation: &Explanation, palette: Palette) -> String {
    let title = format!("{}/{}", explanation.namespace, explanation.name);
    let mut text = format!("{}\n", palette.paint(Tone::Strong, &title));
    text.push_str(&match &explanation.promoted {
        Some(promoted) => format!(
            "promoted: {} (sequence {}), {} ago\n",
            promoted.tag,
            promoted.sequence,
            span(promoted.age_secs)
        ),
        None => "promoted: nothing yet\n".to_owned(),
    });
    if let Some(held) = &explanation.held {
        text.push_str(&format!("{} {held}\n", palette.paint(Tone::Doubtful, "held:")));
    }
    for condition in &explanation.conditions {
        text.push_str(&format!("{condition}\n"));
    }
    if !explanation.up_to_date {
        text.push_str("the controller has not looked at the spec as it is now: what follows is of before\n");
    }
    text
}

fn candidate_head(candidate: &Candidate, palette: Palette) -> String {
    let mut parts = vec![format!("{}, followed for {}", candidate.phase, span(candidate.age_secs))];
    match candidate.deadline_left_secs {
        Some(left) if left <= 0 => parts.push(format!("overdue for {}", span(-left))),
        Some(left) if candidate.deadline_stands => {
            parts.push(format!("{} left to its deadline, whose clock stands", span(left)));
        }
        Some(left) => parts.push(format!("{} left to its deadline", span(left))),
        None => {}
    }
    let mut text =
        format!("candidate {}: {}\n", palette.paint(Tone::Strong, &candidate.tag), parts.join(", "));
    if let Some(blocked_by) = &candidate.blocked_by {
        let since = candidate.blocked_secs.map(|secs| format!(" (for {})", span(secs))).unwrap_or_default();
        text.push_str(&format!("blocked: {blocked_by}{since}\n"));
    }
    text
}

fn matrix(candidate: &Candidate) -> Vec<Vec<Mark>> {
    let mut platforms: Vec<&str> = Vec::new();
    for cell in candidate.images.iter().flat_map(|image| &image.cells) {
        if !platforms.contains(&cell.platform.as_str()) {
            platforms.push(&cell.platform);
        }
    }
    let mut header = vec![Mark::heading("IMAGE")];
    header.extend(platforms.iter().map(|platform| Mark::heading(platform)));
    let mut rows = vec![header];
    for image in &candidate.images {
        let mut row = vec![Mark::plain(&image.name)];
        row.extend(platforms.iter().map(|platform| mark(image, platform)));
        rows.push(row);
    }
    rows
}

fn mark(image: &Image, platform: &str) -> Mark {
    let Some(cell) = image.cells.iter().find(|cell| cell.platform == platform) else {
        return Mark { text: "-".to_owned(), tone: Tone::Faint };
    };
    let (word, tone) = match cell.state.as_str() {
        "Present" => ("ok".to_owned(), Tone::Good),
        "Untold" => ("?".to_owned(), Tone::Doubtful),
        "Unknown" => ("unknown".to_owned(), Tone::Doubtful),
        other => (other.to_ascii_lowercase(), Tone::Bad),
    };
    if cell.required {
        Mark { text: word, tone }
    } else {
        Mark { text: format!("({word})"), tone: Tone::Faint }
    }
}

fn reasons(candidate: &Candidate) -> String {
    let line = |image: &Image, cell: &Cell| {
        let reason = cell.reason.as_ref()?;
        Some(format!("{} {} {}: {reason}\n", image.name, cell.platform, cell.state.to_ascii_lowercase()))
    };
    let cells = candidate.images.iter().flat_map(|image| image.cells.iter().map(move |cell| (image, cell)));
    cells.filter_map(|(image, cell)| line(image, cell)).collect()
}

fn gates(candidate: &Candidate) -> Vec<Vec<Mark>> {
    let headings = ["GATE", "STATE", "REASON", "MESSAGE"];
    let mut rows = vec![headings.map(Mark::heading).into_iter().collect()];
    for gate in &candidate.gates {
        let tone = match gate.state.as_str() {
            "Passed" => Tone::Good,
            "Failed" => Tone::Bad,
            _ => Tone::Doubtful,
        };
        let advisory = if gate.advisory { " (advisory)" } else { "" };
        rows.push(vec![
            Mark::plain(&gate.name),
            Mark { text: gate.state.clone(), tone },
            Mark::plain(gate.reason.as_deref().unwrap_or("-")),
            Mark::plain(&format!("{}{advisory}", gate.message.as_deref().unwrap_or("-"))),
        ]);
    }
    rows
}

/// What failed tests wrote, a block for each gate.
fn logs(candidate: &Candidate) -> impl Iterator<Item = String> {
    let block = |gate: &Gate| {
        let log = gate.log.as_ref().filter(|log| !log.trim().is_empty())?;
        let lines: Vec<String> = log.lines().map(|line| format!("  {}\n", one_line(line))).collect();
        let lines = lines.concat();
        Some(format!("the end of what {} wrote:\n{lines}", gate.name))
    };
    candidate.gates.iter().filter_map(block)
}

fn targets(explanation: &Explanation) -> Vec<Vec<Mark>> {
    let headings = ["TARGET", "STATE", "SINCE", "MESSAGE"];
    let mut rows = vec![headings.map(Mark::heading).into_iter().collect()];
    for target in &explanation.targets {
        let tone = match target.state.as_str() {
            "Applied" => Tone::Good,
            "Taken" | "Failed" => Tone::Bad,
            _ => Tone::Doubtful,
        };
        rows.push(vec![
            Mark::plain(&target.name),
            Mark { text: target.state.clone(), tone },
            Mark::plain(&span(target.secs)),
            Mark::plain(target.message.as_deref().unwrap_or("-")),
        ]);
    }
    rows
}

fn foot(explanation: &Explanation, palette: Palette) -> String {
    let look = explanation.next_look.as_ref().map(|look| format!("next look: {look}\n")).unwrap_or_default();
    format!("{look}{} {}\n", palette.paint(Tone::Strong, "next action:"), explanation.next_action)
}
