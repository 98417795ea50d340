//! The only place that prints. Standard output carries data, standard error carries talk.
//!
//! Colour decorates and never carries meaning. A reader that went away (`| head`) is no error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};

use crate::cli::env::Environment;
use crate::cli::error::{CliError, Result};

/// When colour is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What a text is, for colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Known to be wrong.
    Bad,
    /// In doubt.
    Doubtful,
    /// Beside the point.
    Faint,
    /// A heading.
    Strong,
    /// Anything else.
    Plain,
}

/// Both streams of the process.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    quiet: bool,
    data_colors: Palette,
    talk_colors: Palette,
    data_is_terminal: bool,
    talk_is_terminal: bool,
}

/// Whether texts for one stream are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette(bool);

// === impl Palette ===

impl Palette {
    /// No colour at all.
    pub const PLAIN: Self = Self(false);

    /// `text` in the colour of `tone`. The visible characters stay the same.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let color = |color: AnsiColor| color.on_default();
        let style = match tone {
            Tone::Good => color(AnsiColor::Green),
            Tone::Bad => color(AnsiColor::Red),
            Tone::Doubtful => color(AnsiColor::Yellow),
            Tone::Faint => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
            Tone::Plain => return text.to_owned(),
        };
        if self.0 && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

// === impl Printer ===

impl Printer {
    /// A printer for this process. `quiet` leaves notes and hints away, never errors.
    pub fn new(environment: &Environment, color: ColorChoice, quiet: bool) -> Self {
        let wanted = |is_terminal: bool| match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !environment.no_color && !environment.dumb_terminal,
        };
        let (data, talk) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            quiet,
            data_colors: Palette(wanted(data)),
            talk_colors: Palette(wanted(talk)),
            data_is_terminal: data && !environment.dumb_terminal,
            talk_is_terminal: talk && !environment.dumb_terminal,
        }
    }

    /// Standard output is a terminal that can move its cursor.
    pub fn data_is_terminal(&self) -> bool {
        self.data_is_terminal
    }

    /// Standard error is a terminal that can move its cursor.
    pub fn talk_is_terminal(&self) -> bool {
        self.talk_is_terminal
    }

    /// Colours for what is said on standard error.
    pub fn talk_colors(&self) -> Palette {
        self.talk_colors
    }

    /// How far a command is, as it is, on standard error.
    pub fn progress(&self, text: &str) {
        if !self.quiet {
            talk(text);
        }
    }

    /// Colours for what [`Printer::data`] prints.
    pub fn data_colors(&self) -> Palette {
        self.data_colors
    }

    /// Writes `text` to standard output as it is.
    ///
    /// # Errors
    /// When it cannot be written, as on a full disk. A reader that went away is no error.
    pub fn data(&self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(CliError::new("failed to write to standard output").caused_by(&error))
            }
            _ => Ok(()),
        }
    }

    /// Something worth knowing, in one line.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            talk(&format!("{} {text}\n", self.talk_colors.paint(Tone::Faint, "note:")));
        }
    }

    /// The one next step.
    pub fn hint(&self, text: &str) {
        if !self.quiet {
            talk(&format!("\n{} {text}\n", self.talk_colors.paint(Tone::Strong, "hint:")));
        }
    }

    /// What happened, why, and the next step.
    pub fn error(&self, error: &CliError) {
        talk(&format!("{} {error}\n", self.talk_colors.paint(Tone::Bad, "error:")));
        if let Some(hint) = error.next_step() {
            talk(&format!("\n{} {hint}\n", self.talk_colors.paint(Tone::Strong, "hint:")));
        }
    }

    /// Help, the version, or what is wrong with the command line: on the stream that clap chose.
    pub fn usage(&self, error: &clap::Error) {
        // Nothing better can be done when the stream is gone.
        let _written = error.print();
    }
}

/// A question on the terminal; the answer is on the same line.
pub fn ask(question: &str) {
    talk(question);
}

fn talk(text: &str) {
    // A lost note is no reason to lose the verdict.
    let _written = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_adds_nothing_that_can_be_read() {
        assert_eq!(Palette::PLAIN.paint(Tone::Bad, "missing"), "missing");
        let painted = Palette(true).paint(Tone::Bad, "missing");
        assert!(painted.contains("missing") && painted.starts_with('\u{1b}') && painted.ends_with('m'));
        assert_eq!(Palette(true).paint(Tone::Bad, ""), "");
    }

    #[test]
    fn no_color_and_dumb_terminals_win_over_auto() {
        let environment = Environment { no_color: true, ..Environment::default() };
        assert_eq!(Printer::new(&environment, ColorChoice::Auto, false).data_colors(), Palette::PLAIN);
        assert_eq!(Printer::new(&environment, ColorChoice::Always, false).data_colors(), Palette(true));
    }
}
